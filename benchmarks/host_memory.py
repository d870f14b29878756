"""Memory of each host while a model is exported and while a run is restarted.

    python benchmarks/host_memory.py [--blocks 12] [--hosts 4] [--before CHECKOUT]
        [--parts soundstream semantic coarse fine w2v_bert_xl]

Hosts are processes of this machine with one CPU device each, whose memory is the host's too: the
mesh and its rules are those of configs/librilight_paper, weights are random. `--blocks` makes the
parts smaller; `--before` names a checkout of an earlier commit, measured too. Peaks are resident
memory beyond what a process holds before it has any array, of the first host and the most of the
others; "own" is what a host has of the whole state, "weights" what is exported.
"""

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("soundstream", "semantic", "coarse", "fine", "w2v_bert_xl")
MIB = 1 << 20


def resident(field: str) -> int:
    """VmRSS, or VmHWM, the highest since `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) << 10 for x in lines if x.startswith(field))


def forget_peak() -> None:
    """Has VmHWM start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def shrunk(experiment: Any, blocks: int | None) -> Any:
    """The part with so many blocks, if it has any."""
    model = experiment.model
    if blocks is None or not (hasattr(model, "decoder") or hasattr(model, "masked_layers")):
        return experiment
    if hasattr(model, "decoder"):
        decoder = dataclasses.replace(model.decoder, layers=blocks)
        return dataclasses.replace(experiment, model=dataclasses.replace(model, decoder=decoder))
    half = {"contrastive_layers": blocks // 2, "masked_layers": blocks - blocks // 2}
    return dataclasses.replace(experiment, model=dataclasses.replace(model, **half))


def work(what: str, part: str, blocks: int | None, folder: Path) -> dict[str, int]:
    """Saves, exports or restarts as one of the hosts."""
    import jax
    import numpy as np

    from audiolm_jax.artifacts.model_folder import save_model
    from audiolm_jax.experiments.load import load_experiment
    from audiolm_jax.training.checkpoints import Checkpoints
    from audiolm_jax.training.distributed import from_first_host
    from audiolm_jax.training.mesh import gather, make_mesh, rules_of, state_shardings
    from audiolm_jax.training.step import make_init

    experiment = shrunk(load_experiment(ROOT / f"configs/librilight_paper/{part}.py"), blocks)
    program, mesh = experiment.program(), make_mesh(experiment.mesh)
    abstract = jax.eval_shape(make_init(program), jax.random.key(0))
    shardings = state_shardings(mesh, rules_of(experiment.mesh), abstract)
    with Checkpoints(folder, keep=1) as checkpoints:
        gather(jax.numpy.zeros(()))  # connects the hosts
        start = resident("VmRSS")
        forget_peak()
        if what == "restart":
            state, _ = checkpoints.restore(abstract, shardings) or (None, None)
        else:
            rng = np.random.default_rng(0)
            state = jax.tree.map(
                lambda x, sharding: jax.make_array_from_callback(
                    x.shape,
                    sharding,
                    lambda index: rng.random(
                        [len(range(*i.indices(n))) for i, n in zip(index, x.shape, strict=True)],
                        np.float32,
                    ).astype(x.dtype),
                ),
                abstract,
                shardings,
            )
        if what == "save":
            checkpoints.save(1, state, {"step": 1})
        own = sum(s.data.nbytes for x in jax.tree.leaves(state) for s in x.addressable_shards)
        arrays = program.export(jax.eval_shape(lambda x: x, abstract)) if NEW else {}
        weights = sum(x.size * x.dtype.itemsize for x in arrays.values())
        largest = max((x.size * x.dtype.itemsize for x in arrays.values()), default=0)
        if what == "export":
            model = (folder / "model", experiment.kind, {})
            if NEW:
                from audiolm_jax.training.host_arrays import save_on_first_host

                exported = program.export(state)
                del state
                save_on_first_host(exported, lambda whole: save_model(*model, whole, {}))
            else:
                whole = gather(dataclasses.replace(state, opt_state=()))
                from_first_host(lambda: save_model(*model, program.export(whole), {}))
        peak = resident("VmHWM") - start
    return {"peak": peak, "own": own, "weights": weights, "largest": largest}


def run(what: str, part: str, options: argparse.Namespace, code: Path, folder: Path) -> list[dict]:
    """What the hosts find, run by the package at `code`."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": str(code), "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=1"
    words = [what, part, str(options.blocks or 0), str(folder), coordinator, str(options.hosts)]
    command = [sys.executable, __file__, "--worker", *words]
    started = [
        subprocess.Popen([*command, str(host)], env=environment, stdout=subprocess.PIPE)
        for host in range(options.hosts)
    ]
    printed = [process.communicate()[0].decode().splitlines() for process in started]
    if any(process.returncode for process in started):
        sys.exit(f"host_memory: {what} of {part} failed")
    return [json.loads(lines[-1]) for lines in printed]


def main() -> None:
    """Prints a row for each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    codes = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    print(f"{options.hosts} hosts, MiB; peak of the first host / of the others, over weights")
    for part in options.parts:
        with tempfile.TemporaryDirectory() as folder:
            saved = run("save", part, options, ROOT, Path(folder))[0]
            about = ", ".join(f"{n} {saved[n] / MIB:,.0f}" for n in ("weights", "largest", "own"))
            print(f"{part}: {about}", flush=True)
            for name, code in codes.items():
                for what in ("export", "restart"):
                    peaks = [x["peak"] for x in run(what, part, options, code, Path(folder))]
                    shown = (peaks[0], max(peaks[1:], default=0))
                    text = " / ".join(f"{x / MIB:,.0f}" for x in shown)
                    shares = " / ".join(f"{x / saved['weights']:.2f}" for x in shown)
                    print(f"  {what} {name}: {text}  ({shares})", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        import importlib.util

        import jax

        what, part, blocks, folder, coordinator, hosts, host = sys.argv[2:]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(coordinator, int(hosts), int(host))
        NEW = importlib.util.find_spec("audiolm_jax.training.host_arrays") is not None
        print(json.dumps(work(what, part, int(blocks) or None, Path(folder))), flush=True)
    else:
        main()
