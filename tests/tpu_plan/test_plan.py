"""`audiolm plan` where there is no libtpu: what it refuses, what it imports, how it prints."""

import dataclasses
import json
import subprocess
import sys

import pytest

from audiolm_jax.cli import plan as command
from audiolm_jax.cli.main import main
from audiolm_jax.tpu_plan import topology
from audiolm_jax.tpu_plan.cycles import Collective
from audiolm_jax.tpu_plan.plan import Compute, Memory, Plan, read_out_of_memory
from audiolm_jax.tpu_plan.text import describe, table

DEMO = "configs/demo/coarse_lm.py"
GIB = 2**30
PLAN = Plan(
    topology="v5p:2x2x4",
    shape="v5p:2x2x4",
    slices=1,
    chip="v5p",
    chips=16,
    devices=16,
    mesh={"data": 1, "fsdp": 16, "model": 1},
    preset="fsdp",
    parameters=211_800_000,
    batch_size=256,
    hosts=4,
    rows_per_host=64,
    units=("tokens", 1000.0),
    model_flops=8e14,
    peak_flops=16 * 459e12,
    parameter_traffic=2_000_000_000,
    memory=Memory(95 * GIB, 5 * GIB, GIB, 4 * GIB),
    compile_seconds=61.0,
    collectives={"all-gather": Collective(24, 500_000_000)},
    compute=Compute(
        seconds=0.25,
        cheapest_seconds=0.2,
        is_complete=True,
        kernels={"flash_attention_forward": (12, 0.025)},
        without_estimate={"reshape": (3, 0.001)},
        unknown_loops=(),
        most_expensive=((0.5, "fusion", "jit(run_step)/dot_general"),),
    ),
)
FULL = dataclasses.replace(
    PLAN,
    topology="v5e:4x4",
    shape="v5e:4x4",
    memory=Memory(15 * GIB, 20 * GIB),
    collectives=None,
    compute=None,
    largest_buffers=("4.00G  f32[1024,1024]{1,0}  jit(run_step)/dot_general",),
)


@pytest.fixture
def _no_libtpu(monkeypatch):
    monkeypatch.setattr(topology.importlib.util, "find_spec", lambda name: None)


def errors(capsys, *words):
    status = main(["plan", *words])
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.usefixtures("_no_libtpu")
def test_without_libtpu_one_line_says_how_to_install_it(capsys):
    line = errors(capsys, DEMO, "--topology", "v5e:2x2", "--mesh.preset", "dp")
    assert "pip install 'audiolm_jax[tpu]'" in line


@pytest.mark.usefixtures("_no_libtpu")
@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ([DEMO], "--topology"),
        ([DEMO, "--topology", "v5e:2x2", "--batch-per-chip", "0"], "--batch-per-chip 0"),
        ([DEMO, "--topology", "v5e:2x2", "--mesh.presett", "dp"], "--mesh.presett"),
        (["configs/demo/kmeans.py", "--topology", "v5e:2x2"], "KmeansExperiment"),
        (["configs/nothing.py", "--topology", "v5e:2x2"], "no such config"),
    ],
)
def test_bad_requests_are_one_line(capsys, words, fragment):
    assert fragment in errors(capsys, *words)


def test_imports_no_tensorflow():
    code = (
        "import importlib.util, sys; from audiolm_jax.cli.main import main\n"
        "importlib.util.find_spec = lambda name: None\n"
        f"assert main(['plan', {DEMO!r}, '--topology', 'v5e:2x2']) == 2\n"
        "found = {'tensorflow', 'seqio', 'torch', 'apache_beam', 'orbax'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_statuses_tables_and_json(capsys, monkeypatch, tmp_path):
    made = {"v5p:2x2x4": PLAN, "v5e:4x4": FULL}
    monkeypatch.setattr(command, "prepare_compiler", lambda: None)
    monkeypatch.setattr(
        command, "_plan", lambda experiment, machine, options, *_: made[machine.name]
    )
    path = tmp_path / "deep" / "plan.json"
    assert main(["plan", DEMO, "--topology", "v5p:2x2x4", "--json", str(path)]) == 0
    assert "exchanged" not in capsys.readouterr().out  # one topology needs no table
    assert main(["plan", DEMO, "--topology", "v5e:4x4", "v5p:2x2x4", "--json", str(path)]) == 1
    out = capsys.readouterr().out
    assert "DOES NOT FIT: needs 20.00 GiB of 15.00 GiB" in out
    assert "4.00G  f32[1024,1024]" in out
    assert "--model.decoder.remat" in out
    starts = ("v5e:4x4  ", "v5p:2x2x4  ")
    rows = [line for line in out.splitlines() if line.startswith(starts)]
    assert "does not fit" in rows[0]
    assert "250.0 ms" in rows[1]
    saved = json.loads(path.read_text())["plans"]
    assert [one["fits"] for one in saved] == [False, True]
    assert saved[1]["collectives"]["all-gather"] == {"count": 24, "bytes": 500_000_000}
    assert list(path.parent.iterdir()) == [path]


def test_text_of_a_plan():
    text = describe("config.py", PLAN)
    for fragment in (
        "16 chips of TPU v5p",
        "256, 16 a chip; 1,000 tokens a step",
        "arguments 1.00, temporaries 4.00, together 5.00 of 95.00 GiB",
        "0.25 x the parameters' own 2.000 GB",
        "compute 250.0 ms a step, MFU 0.436, 4,000 tokens a second",
        "leaves out collectives",
        "needs 256 examples a second on each of 4 hosts; one process gave 3,198 to 3,866: enough",
        "at its cheapest 200.0 ms",
        "flash_attention_forward: 12 runs a step, 25.0 ms by our own estimate, 10.0%",
        "1.0 ms in the estimate for 3 runs without cycles of the compiler: reshape 3",
        "50.0%  fusion",
    ):
        assert fragment in text


@pytest.mark.parametrize(
    ("name", "units", "batch", "hosts", "seconds", "needed", "given", "waits"),
    [
        # Computing times of docs/guide/tpu.md.
        ("semantic on v5p", "tokens", 256, 4, 0.073, 876.7, (3198, 3866), None),
        ("as one host", "tokens", 256, 1, 0.05, 5120.0, (3198, 3866), "24% to 38%"),
        ("coarse on v5p", "tokens", 256, 4, 0.243, 263.4, (3198, 3866), None),
        ("codec on v5p", 3.0, 128, 4, 0.102, 941.2, (555.6, 555.6), "1.7 CPUs"),
        ("codec on v4", 3.0, 256, 4, 0.3473, 552.8, (555.6, 555.6), "1.0 CPUs"),
        ("encoder on v4", 16.0, 2048, 16, 0.5679, 3606.3, (1495.3, 1495.3), "2.4 CPUs"),
        ("encoder on v5p", 16.0, 2048, 16, 0.3194, 6412.0, (1495.3, 1495.3), "4.3 CPUs"),
        ("crops of 1 s", 1.0, 16, 1, 0.5, 32, (218.1, 218.1), "0.1 CPUs"),
    ],
)
def test_the_feed_that_a_step_needs_beside_what_was_measured(
    name, units, batch, hosts, seconds, needed, given, waits
):
    plan = dataclasses.replace(
        PLAN,
        batch_size=batch,
        hosts=hosts,
        rows_per_host=batch // hosts,
        units=("tokens", 1e6) if units == "tokens" else ("audio_seconds", batch * units),
        compute=dataclasses.replace(PLAN.compute, seconds=seconds),
    )
    assert plan.feed.needed == pytest.approx(needed, rel=1e-3)
    assert plan.feed.given == pytest.approx(given, rel=1e-3)
    if units == "tokens":
        words = f": SHORT: chips wait {waits} of the time" if waits else ": enough"
        assert waits or plan.feed.idle == (0, 0)
    else:
        words = f"hosts; {waits}, of which one gave "
        assert plan.feed.idle is None
    assert words in describe("config.py", plan)
    saved = plan.to_dict()["feed"]
    assert (saved["needed"], saved["cores"]) == (plan.feed.needed, plan.feed.cores)


def test_a_feed_of_other_units_was_never_measured():
    assert dataclasses.replace(PLAN, units=("points", 3.0)).feed is None
    assert FULL.feed is None
    assert "feed" not in describe("config.py", FULL)


def test_a_kernel_of_unknown_cost_is_never_free():
    kernels = {"mystery": (7, None)}
    compute = dataclasses.replace(PLAN.compute, kernels=kernels, is_complete=False)
    plan = dataclasses.replace(PLAN, compute=compute)
    text = describe("config.py", plan)
    assert "compute at least 250.0 ms a step, MFU at most 0.436" in text
    assert "mystery: 7 runs a step of UNKNOWN cost" in text
    assert ">=250.0 ms  <=0.44" in table([plan, plan])


OUT_OF_MEMORY = """RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in \
memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.

Total hbm usage >= 20.75G:
    reserved        258.00M
    program          20.40G

  Largest program allocations in hbm:

  1. Size: 4.00G
     Operator: op_name="jit(run_step)/transpose(jvp())/while/body/dot_general" stack_frame_id=3
     Shape: bf16[12,16,2252,2,4096]{4,2,3,1,0:T(8,128)(2,1)}
     Unpadded size: 3.96G
     Allocation type: HLO temp
     ==========================

  2. Size: 1.50G
     Shape: f32[16,2252,5124]{1,2,0:T(8,128)}
     Allocation type: HLO temp
     ==========================
"""


def test_the_compilers_largest_buffers_are_read():
    needed, buffers = read_out_of_memory(OUT_OF_MEMORY)
    assert needed == round(20.5 * GIB)
    assert buffers == (
        "4.00G  bf16[12,16,2252,2,4096]{4,2,3,1,0:T(8,128)(2,1)}  "
        "jit(run_step)/transpose(jvp())/while/body/dot_general",
        "1.50G  f32[16,2252,5124]{1,2,0:T(8,128)}",
    )
    short = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    assert read_out_of_memory(f"{short}temporaries (2.00T) exceeds available HBM (15.75G).") == (
        2 * 1024**4,
        (),
    )
