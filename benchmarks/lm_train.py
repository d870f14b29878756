"""The training step of a language model as a share of the matmul peak measured beside it.

python benchmarks/lm_train.py                                    both cases in float32, minutes
python benchmarks/lm_train.py --cases paper --dtypes bfloat16 --json out.json
python benchmarks/lm_train.py --cases own --width 128 --layers 3 --heads 2 --ff-width 256 \\
    --batch 12 --length 501

Steps and matrix products take turns, so that other work on the machine slows both; every figure is
a median. The peak is the fastest of several large products in the same number format with the same
threads. FLOPs of a step are `lm.flops.model_flops`: recomputation, norms, softmax, dropout and
optimizer never count. The host's share is the time that the same call takes when the step computes
nothing (same state, same batch, donated), plus fetching the metrics, over the time of a step.
"""

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.flops import model_flops
from audiolm_jax.lm.train import program
from audiolm_jax.stages import FIRST_ID, StageConfig
from audiolm_jax.training.config import OptimizerConfig
from audiolm_jax.training.mesh import state_shardings
from audiolm_jax.training.optim import make_optimizer
from audiolm_jax.training.step import jit_step, make_init
from audiolm_jax.types import TokenBatch

SHAPES = ((2048, 1024, 4096), (2048, 2048, 2048), (4096, 4096, 4096))
ADAFACTOR = OptimizerConfig("adafactor", 1e-2, 10_000, "rsqrt", b1=0.0, clip_norm=None)


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained: `batch` rows of `length` tokens of the semantic stage."""

    decoder: DecoderConfig
    optimizer: OptimizerConfig
    batch: int
    length: int


CASES = {
    "d512": Case(
        DecoderConfig(layers=6, heads=8, width=512, ff_width=2048, scan_layers=False),
        OptimizerConfig(),
        4,
        512,
    ),
    "paper": Case(DecoderConfig(layers=2, scan_layers=False), ADAFACTOR, 4, 512),
    "demo": Case(
        DecoderConfig(layers=3, heads=2, width=128, ff_width=256, scan_layers=False),
        OptimizerConfig(),
        12,
        501,
    ),
}


def stage_of(length: int) -> StageConfig:
    """A semantic stage whose inputs have this length."""
    return StageConfig("semantic", 1024, 1024, 12, crop_seconds=(length - 1) / 25)


def seconds(call: Callable[[], Any]) -> float:
    """Time until the result is there."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def matmuls(dtype: str) -> list[tuple[float, Callable[[], Any]]]:
    """FLOPs and a call for each of the large products."""
    multiply = jax.jit(jnp.matmul)
    calls = []
    for m, k, n in SHAPES:
        draw = np.random.default_rng(0)
        left, right = (jnp.asarray(draw.normal(size=shape), dtype) for shape in ((m, k), (k, n)))
        calls.append((2.0 * m * k * n, lambda left=left, right=right: multiply(left, right)))
    return calls


class Trainer:
    """A state, and the jitted step that the training loop would run on it."""

    def __init__(self, case: Case):
        self.model = StageModelConfig(stage_of(case.length), case.decoder)
        trainer = program(self.model, StageTrainConfig(), make_optimizer(case.optimizer))
        idle = dataclasses.replace(trainer, step=lambda state, batch, key: (state, {}))
        self.key = jax.random.key(0)
        init = make_init(trainer)
        shardings = state_shardings(None, None, jax.eval_shape(init, self.key))
        self.state = jax.jit(init)(self.key)
        self.step, self.idle = (jit_step(p, None, shardings) for p in (trainer, idle))
        shape = (case.batch, case.length)
        ids = np.random.default_rng(0).integers(FIRST_ID, self.model.stage.vocab_size, (2, *shape))
        self.batch = jax.device_put(
            TokenBatch(
                ids[0].astype(np.int32),
                ids[1].astype(np.int32),
                np.ones(shape, np.float32),
                np.zeros(shape, np.int32),
            )
        )
        self.metrics: Any = {}

    def train(self) -> Any:
        """One update."""
        self.state, self.metrics = self.step(self.state, self.batch, self.key)
        return self.state, self.metrics

    def do_nothing(self) -> Any:
        """The same call without any work on the device."""
        self.state, _ = self.idle(self.state, self.batch, self.key)
        return self.state

    def fetch(self) -> None:
        """Metrics as Python numbers."""
        assert all(np.isfinite(float(x)) for x in jax.device_get(self.metrics).values())


def measure(case: Case, repetitions: int) -> dict[str, Any]:
    """All figures of one case."""
    trainer, products = Trainer(case), matmuls(case.decoder.compute_dtype)
    flops = model_flops(trainer.model, case.batch)
    for warm in (trainer.train, trainer.do_nothing, trainer.train, *(c for _, c in products)):
        jax.block_until_ready(warm())
    steps, peaks, host = [], [], []
    for _ in range(repetitions):
        # The products stand on both sides of the step that they are compared with.
        around = [n / seconds(call) for n, call in products]
        steps.append(seconds(trainer.train))
        around += [n / seconds(call) for n, call in products]
        peaks.append(max(around))
        host.append(seconds(trainer.do_nothing) + seconds(trainer.fetch))
    step = statistics.median(steps)
    return {
        "seconds_per_step": step,
        "tokens_per_second": case.batch * case.length / step,
        "model_flops_per_second": flops / step,
        "matmul_peak_flops_per_second": statistics.median(peaks),
        "share_of_peak": statistics.median(
            flops / s / p for s, p in zip(steps, peaks, strict=True)
        ),
        "share_of_peak_range": sorted(flops / s / p for s, p in zip(steps, peaks, strict=True))[
            :: max(1, repetitions - 1)
        ],
        "host_share": statistics.median(host) / step,
        "parameters": sum(x.size for x in jax.tree.leaves(trainer.state.params)),
        "repetitions": repetitions,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=(*CASES, "own"), default=["d512", "paper"])
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32"])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    own = parser.add_argument_group("sizes of the case `own`")
    for name, size in (("width", 512), ("layers", 6), ("heads", 8), ("ff-width", 2048)):
        own.add_argument(f"--{name}", type=int, default=size)
    own.add_argument("--batch", type=int, default=4)
    own.add_argument("--length", type=int, default=512)
    own.add_argument("--remat", choices=("none", "dots", "kernels", "full"), default="none")
    own.add_argument("--attention", choices=("blocks", "flash"), default="blocks")
    own.add_argument("--scan-layers", action="store_true")
    own.add_argument("--optimizer", choices=("adamw", "adafactor"), default="adamw")
    options = parser.parse_args()
    decoder = DecoderConfig(
        layers=options.layers,
        heads=options.heads,
        head_width=options.width // options.heads,
        width=options.width,
        ff_width=options.ff_width,
        remat=options.remat,
        attention=options.attention,
        scan_layers=options.scan_layers,
    )
    optimizer = OptimizerConfig() if options.optimizer == "adamw" else ADAFACTOR
    cases = CASES | {"own": Case(decoder, optimizer, options.batch, options.length)}
    results = {
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "jax": jax.__version__,
        "cases": [],
    }
    for name in options.cases:
        for dtype in options.dtypes:
            decoder = dataclasses.replace(cases[name].decoder, compute_dtype=dtype)
            case = dataclasses.replace(cases[name], decoder=decoder)
            row = {"case": name, **dataclasses.asdict(case)} | measure(case, options.repetitions)
            results["cases"].append(row)
            low, high = row["share_of_peak_range"][0], row["share_of_peak_range"][-1]
            print(
                f"{name} {dtype}: {row['share_of_peak']:.2f} of the matmul peak "
                f"({low:.2f} to {high:.2f}), {row['seconds_per_step']:.3f} s a step, "
                f"{row['tokens_per_second']:,.0f} tokens/s, "
                f"{row['model_flops_per_second'] / 1e9:.0f} of "
                f"{row['matmul_peak_flops_per_second'] / 1e9:.0f} GFLOP/s, "
                f"host {100 * row['host_share']:.2f} % of the step",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
