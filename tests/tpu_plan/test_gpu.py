"""Plans for graphics cards: the step compiled for the CPU, arithmetic, and how they are printed."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from support import training_toy

from audiolm_jax.cli import plan
from audiolm_jax.cli.main import main
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.tpu_plan import gpu
from audiolm_jax.tpu_plan.gpu import GpuPlan, multiplied_dtype
from audiolm_jax.tpu_plan.gpu_text import describe_gpus, gpu_table
from audiolm_jax.tpu_plan.names import CARDS
from audiolm_jax.tpu_plan.plan import Memory, memory_of
from audiolm_jax.tpu_plan.step import Duration, Step, trace
from audiolm_jax.training.config import MeshConfig

GIB = 2**30
PLAN = GpuPlan(
    topology="h100x8",
    machines=1,
    card=CARDS["h100"],
    chips=8,
    mesh={"data": 8, "fsdp": 1, "model": 1},
    preset="dp",
    parameters=100_000_000,
    batch_size=64,
    units=("tokens", 80_000.0),
    model_flops=8 * 989.4e12 * 0.01,
    dtype="bfloat16",
    memory=Memory(55 * GIB, 5 * GIB, GIB, 4 * GIB),
    state_seconds=0.001,
    share=0.2,
    steps=3600,
    price=2.0,
    compile_seconds=60.0,
)
COARSE = "configs/librilight_paper/coarse.py"
TINY = "configs/demo/semantic_lm.py"


def toy(mesh, rows=16):
    x = jax.ShapeDtypeStruct((rows, training_toy.WIDTH), np.float32)
    batch = {"x": x, "y": x}
    return Step(training_toy.make_program(), batch, mesh, 1e9, ("rows", 16.0), 3600, 2.0)


def test_arguments_are_state_and_batch_of_one_device():
    step = toy(MeshConfig("dp"))
    traced = trace(step, jax.devices("cpu")[:4])
    memory = memory_of(GIB, traced.lower().compile().memory_analysis())
    state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(traced.abstract))
    batch = 2 * 4 * training_toy.WIDTH * 4
    # Beside them the seed's key, and rounding up of small arrays.
    assert state + batch <= memory.arguments <= state + batch + 4096
    assert memory.needed == memory.arguments + memory.temporaries


def test_one_card_needs_no_mesh():
    traced = trace(toy(MeshConfig()), jax.devices("cpu")[:1])
    assert dict(traced.mesh.shape) == {"data": 1, "fsdp": 1, "model": 1}


def test_no_step_is_faster_than_peak_and_memory():
    assert PLAN.least_seconds == pytest.approx(0.01)
    assert PLAN.assumed_seconds == pytest.approx(0.05)
    bound_by_memory = dataclasses.replace(PLAN, state_seconds=0.5)
    assert bound_by_memory.least_seconds == bound_by_memory.assumed_seconds == 0.5
    halved = dataclasses.replace(PLAN, dtype="float32")
    assert halved.least_seconds == pytest.approx(0.02)


def test_what_is_multiplied():
    decoder = DecoderConfig(compute_dtype="bfloat16")
    assert multiplied_dtype(StageModelConfig(StageConfig("semantic"), decoder)) == "bfloat16"
    assert multiplied_dtype(StageConfig("semantic")) == "float32"


def test_hours_and_cost():
    duration = Duration.of(3600, 2.0, 8, 2.0)
    assert duration == Duration(3600, 2.0, 16.0, 32.0)
    assert str(duration) == "3,600 steps: 2.0 h, 16 chip-hours, cost 32"
    assert str(Duration.of(3600, 2.0, 8, None)) == "3,600 steps: 2.0 h, 16 chip-hours"
    assert dataclasses.astuple(PLAN.least) == pytest.approx((3600, 0.01, 0.08, 0.16))
    assert PLAN.assumed.cost == pytest.approx(0.8)


def test_a_step_is_compiled_once_for_cards_of_any_kind(monkeypatch, tmp_path, capsys):
    """And what is planned is that step: its memory, its flops, the card's own rates."""
    compiled = []

    def compile_on_cpus(step, count):
        compiled.append(gpu.compile_on_cpus(step, count))
        return compiled[-1]

    monkeypatch.setattr(plan, "compile_on_cpus", compile_on_cpus)
    monkeypatch.setattr(plan, "prepare_cpus", lambda count: None)
    words = [TINY, "--topology", "h100x2", "l4x2", "l4x1", "--json", str(tmp_path / "plan.json")]
    words += ["--price", "3", "--batch-per-chip", "2", "--mesh.preset", "dp"]
    assert main(["plan", *words, "--model.decoder.layers", "1"]) == 0
    assert [step.count for step in compiled] == [2, 1]
    first, second, third = json.loads((tmp_path / "plan.json").read_text())["plans"]
    assert (first["batch_size"], third["batch_size"]) == (4, 2)
    assert first["memory"]["arguments"] == second["memory"]["arguments"]
    assert first["memory"]["limit"] == 60e9
    assert second["memory"]["limit"] == 18e9
    assert second["state_seconds"] == 2 * second["memory"]["arguments"] / 300e9
    assert second["peak_flops"] == 2 * 121e12 / 2  # of float32 numbers
    assert second["share"] == 0.14
    assert second["least"]["cost"] == pytest.approx(
        3 * 2 * second["steps"] * second["least_seconds"] / 3600
    )
    assert "h100x2" in capsys.readouterr().out


def test_texts():
    text = describe_gpus("config.py", PLAN)
    for fragment in (
        "config.py on h100x8: 8 cards of 80 GB",
        "64, 8 a chip; 80,000 tokens a step",
        "arguments 1.00, temporaries 4.00 on the CPU, together 5.00 of 55.00 GiB, the 75%",
        "10.0 ms a step: 989.4 TFLOP/s a card",
        "50.0 ms a step, 1,600,000 tokens a second, at 0.2 of the peak",
        "bounds, not a measurement",
    ):
        assert fragment in text
    full = dataclasses.replace(PLAN, memory=Memory(4 * GIB, 5 * GIB, GIB, 4 * GIB))
    assert not full.fits
    assert "DOES NOT FIT" in describe_gpus("config.py", full)
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=.95" in describe_gpus("config.py", full)
    assert "does not fit" in gpu_table([PLAN, full])
    assert json.loads(json.dumps(full.to_dict()))["fits"] is False


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ([COARSE, "--topology", "h100x8"], "a kernel for TPUs; for GPUs add --model.decoder."),
        ([COARSE, "--topology", "h100x8", "--share", "1.5"], "--share 1.5"),
        ([COARSE, "--topology", "h100x8", "--price", "-1"], "--price -1"),
        ([COARSE, "--topology", "v4-33"], "v4-32 (2x2x4)"),
    ],
)
def test_bad_requests_are_one_line(capsys, words, fragment):
    assert main(["plan", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert fragment in line
