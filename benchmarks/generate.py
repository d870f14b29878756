"""Tokens per second of the three stages, as a share of the memory bandwidth measured beside them.

python benchmarks/generate.py                                   d 512 x 6, float32: minutes
python benchmarks/generate.py --rows 1 8 --weights float32 int8 --stages semantic --json out.json
python benchmarks/generate.py --width 128 --layers 3 --ff-width 256 --codes 256   the demo's size
python benchmarks/generate.py --stages semantic --audiolm-pytorch VENV/bin/python   beside it

Weights are random, of the sizes given; sequences are as long as `--prompt` and `--steps` make them.
Decoding and measurements of the bandwidth take turns, so that other work on the machine slows both;
figures are medians over the turns, shares medians of each turn's own share, and "best" is the
fastest turn against the highest bandwidth. The bandwidth is the highest of a turn's three ways to
read a large float32 matrix once: numpy's and XLA's product with a vector, and XLA's sum of it all.
A step reads every matrix once and, for each row, the slots of its cache; nothing else counts.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.decode import Decoding, StageDecoder, round_up
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.lm.config import DecoderConfig, Precision, StageModelConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.stages import BOS, SEP, Sequence, StageConfig, legal_ids

CROPS = {"semantic": 30.0, "coarse": 10.0, "fine": 3.0}


def seconds(call: Callable[[], Any]) -> float:
    """Time until the result is there."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


class Bandwidth:
    """Reads a matrix far larger than the caches, in three ways."""

    def __init__(self, megabytes: int = 192):
        self.matrix = np.random.default_rng(0).normal(size=(megabytes * 256, 1024))
        self.matrix = self.matrix.astype(np.float32)
        self.vector = np.ones(1024, np.float32)
        self.bytes = self.matrix.nbytes
        on_device = jax.device_put(self.matrix)
        product, total = jax.jit(jnp.matmul), jax.jit(jnp.sum)
        self.ways = (
            lambda: self.matrix @ self.vector,
            lambda: product(on_device, self.vector),
            lambda: total(on_device),
        )
        self.measure()

    def measure(self) -> float:
        """Bytes per second, the best way's."""
        return max(self.bytes / seconds(way) for way in self.ways)


def random_arrays(config: StageModelConfig) -> dict[str, np.ndarray]:
    """Weights at the spread that training starts from."""
    state = nnx.eval_shape(lambda: nnx.state(make_decoder(config, jax.random.key(0))))
    rng = np.random.default_rng(0)
    spread = config.decoder.width**-0.5
    return {
        name: np.ones(shape, np.float32)
        if name.endswith("scale")
        else rng.normal(0, spread, shape).astype(np.float32)
        for name, shape in flatten_shapes(state).items()
    }


def prompt_of(stage: StageConfig, tokens: int) -> tuple[np.ndarray, int]:
    """BOS, SEP and legal target tokens that do not repeat, and how many these are."""
    table, head = legal_ids(stage), [BOS] if stage.name == "semantic" else [BOS, SEP]
    known = (tokens - len(head)) // len(table) * len(table)
    ids = [np.flatnonzero(table[i % len(table)])[1 + i % 7] for i in range(known)]
    return np.array([*head, *ids], np.int32), known


def step_bytes(decoder: StageDecoder, rows: int, slots: int) -> int:
    """What a step has to read."""
    weights, sizes = decoder._weights, decoder.config.decoder
    matrices = sum(x.nbytes for x in jax.tree.leaves((weights.layers, weights.output)))
    width = jnp.dtype(decoder._how.decoder.compute_dtype).itemsize
    return matrices + rows * slots * 2 * sizes.layers * sizes.heads * sizes.head_width * width


class Run:
    """One stage with so many rows."""

    def __init__(self, decoder: StageDecoder, rows: int, prompt: int, steps: int):
        self.decoder, self.rows, self.steps = decoder, rows, steps
        self.prompt, self.known = prompt_of(decoder.config.stage, prompt)
        self.bytes = step_bytes(decoder, rows, round_up(len(self.prompt) - 1) + round_up(steps))
        self.decoding = self.open(rows)

    def open(self, rows: int) -> Decoding:
        """Reads the prompt of every row."""
        keys = jax.random.split(seed_key(0), rows)
        asked = [self.prompt] * rows, [self.known] * rows, [self.steps] * rows
        return self.decoder.open(*asked, keys, Sampling(1.0), [False] * rows)

    def prefill(self) -> None:
        """One row's."""
        jax.block_until_ready(self.open(1)._groups[0].carry)

    def decode(self) -> None:
        """All steps of all rows, from a prompt that is read already."""
        self.decoding.advance(self.steps)
        self.decoding.results()


def measure(run: Run, bandwidth: Bandwidth, turns: int) -> dict[str, Any]:
    """All figures of one stage and number of rows."""
    first_prefill, first_decode = seconds(run.prefill), seconds(run.decode)
    prefills, decodes, around, shares = [], [], [], []
    for _ in range(turns):
        before = bandwidth.measure()
        prefills.append(seconds(run.prefill))
        run.decoding = run.open(run.rows)
        jax.block_until_ready([group.carry for group in run.decoding._groups])
        decodes.append(seconds(run.decode) / run.steps)
        around.append(max(before, bandwidth.measure()))
        shares.append(run.bytes / decodes[-1] / around[-1])
    step = statistics.median(decodes)
    return {
        "rows": run.rows,
        "prompt": len(run.prompt),
        "prefill_tokens_per_second": len(run.prompt) / statistics.median(prefills),
        "decode_tokens_per_second": run.rows / step,
        "seconds_per_step": step,
        "best_seconds_per_step": min(decodes),
        "megabytes_per_step": run.bytes / 1e6,
        "bandwidth_gigabytes_per_second": statistics.median(around) / 1e9,
        "share_of_bandwidth": statistics.median(shares),
        "best_share_of_bandwidth": run.bytes / min(decodes) / max(around),
        "first_prefill_seconds": first_prefill,
        "first_decode_seconds": first_decode,
        "turns": turns,
    }


def drawn(decoder: StageDecoder, count: int, steps: int) -> list[Sequence]:
    """Sequences that the model itself finds likely."""
    run = Run(decoder, count, 4, steps)
    run.decode()
    start = len(run.prompt) - run.known
    return [
        Sequence(np.concatenate([run.prompt, out.ids]), start) for out in run.decoding.results()
    ]


def likelihood_change(
    config: StageModelConfig,
    arrays: dict[str, np.ndarray],
    sequences: list[Sequence],
    weights: Precision,
) -> float:
    """Nats per target token by which the sequences grow likelier, below 0 less likely, with
    `weights` instead of "trained" ones. The sequences must be legal, with one target at least."""

    def mean(precision: Precision) -> float:
        decoder = StageDecoder(config, arrays, weights=precision)
        found = [decoder.score(s.tokens.astype(np.int32), s.target_start) for s in sequences]
        return float(np.concatenate(found).astype(np.float64).mean())

    return mean(weights) - mean("trained")


def measure_pytorch(options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """The semantic stage of audiolm-pytorch, of the same width, layers and threads."""
    script = Path(__file__).with_name("peer_pytorch.py")
    sizes = {"rows": rows, "threads": len(os.sched_getaffinity(0))}
    sizes |= {name: getattr(options, name) for name in ("width", "layers", "codes", "prompt")}
    flags = [str(word) for name, size in sizes.items() for word in (f"--{name}", size)]
    command = [str(options.audiolm_pytorch), str(script), *flags, "--steps", str(options.steps)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", choices=tuple(CROPS), default=list(CROPS))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8, 32])
    precisions = ("trained", "float32", "bfloat16", "int8")
    parser.add_argument("--weights", nargs="+", choices=precisions, default=["float32"])
    for name, size in (("width", 512), ("layers", 6), ("ff-width", 2048), ("head-width", 64)):
        parser.add_argument(f"--{name}", type=int, default=size)
    for name, size in (("codes", 1024), ("levels", 12), ("coarse-levels", 4)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--compute-dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--prompt", type=int, default=250)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--audiolm-pytorch", type=Path, help="Python that has that package")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    network = DecoderConfig(
        layers=options.layers,
        heads=options.width // options.head_width,
        head_width=options.head_width,
        width=options.width,
        ff_width=options.ff_width,
        compute_dtype=options.compute_dtype,
    )
    bandwidth = Bandwidth()
    results: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "decoder": dataclasses.asdict(network),
        "runs": [],
    }
    for name in options.stages:
        sizes = options.codes, options.codes, options.levels, options.coarse_levels
        config = StageModelConfig(StageConfig(name, *sizes, crop_seconds=CROPS[name]), network)
        arrays = random_arrays(config)
        sequences = drawn(StageDecoder(config, arrays), 4, 64) if len(options.weights) > 1 else []
        for weights in options.weights:
            decoder = StageDecoder(config, arrays, weights=weights)
            change = likelihood_change(config, arrays, sequences, weights) if sequences else None
            for rows in options.rows:
                run = Run(decoder, rows, options.prompt, options.steps)
                row = {"stage": name, "weights": weights, "likelihood_change": change}
                row |= measure(run, bandwidth, options.turns)
                results["runs"].append(row)
                likelihood = "" if change is None else f", {change:+.5f} nats a token"
                print(
                    f"{name} {weights} rows {rows}: prefill "
                    f"{row['prefill_tokens_per_second']:,.0f} tokens/s, decode "
                    f"{row['decode_tokens_per_second']:,.1f} tokens/s, "
                    f"{1000 * row['seconds_per_step']:.1f} ms a step of "
                    f"{row['megabytes_per_step']:.0f} MB, {row['share_of_bandwidth']:.2f} of "
                    f"{row['bandwidth_gigabytes_per_second']:.1f} GB/s (best "
                    f"{row['best_share_of_bandwidth']:.2f}), first calls "
                    f"{row['first_prefill_seconds']:.1f} + {row['first_decode_seconds']:.1f} s"
                    f"{likelihood}",
                    flush=True,
                )
                if options.audiolm_pytorch and name == "semantic":
                    row["audiolm_pytorch"] = theirs = measure_pytorch(options, rows)
                    ratio = row["decode_tokens_per_second"] / theirs["decode_tokens_per_second"]
                    print(
                        f"audiolm-pytorch rows {rows}: decode "
                        f"{theirs['decode_tokens_per_second']:,.1f} tokens/s; ours is "
                        f"{ratio:.1f} times as fast",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
