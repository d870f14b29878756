"""`audiolm plan` with the TPU compiler: needs libtpu, no TPU."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("libtpu")
pytestmark = pytest.mark.slow

STAGE = ("configs/demo/coarse_lm.py", "--model.stage.crop-seconds", "1")
TINY = ("--model.decoder.layers", "2", "--model.decoder.compute-dtype", "bfloat16")


def plan(*words):
    """Exit status, standard output and the last line of standard error of a process of its own."""
    forced = ("XLA_FLAGS", "JAX_")  # of the test suite: other devices, no optimization
    kept = {name: value for name, value in os.environ.items() if not name.startswith(forced)}
    done = subprocess.run(
        [sys.executable, "-m", "audiolm_jax", "plan", *map(str, words)],
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["--topology", "v5p:3x5x7", "--mesh.preset", "dp"], "'v5p:3x5x7': unknown; expected"),
        (["--topology", "nonsense", "--mesh.preset", "dp"], "v5e:4x4"),
        (["--topology", "v5e:2x2", "--mesh.preset", "dp", "--batch-size", "6"], "multiple of 4"),
        (["--topology", "v5e:2x2"], "mesh.preset = 'none'"),
    ],
)
def test_bad_requests_are_one_line(words, fragment):
    status, out, error = plan(*STAGE, *words)
    assert (status, out) == (2, "")
    assert fragment in error


def test_a_stage_on_two_generations(tmp_path):
    path = tmp_path / "plan.json"
    words = ["--topology", "v5e:2x2", "v4:2x2x1", "--mesh.preset", "fsdp", "--batch-per-chip", "3"]
    flash = ["--model.decoder.attention", "flash", "--json", path]
    status, out, _ = plan(*STAGE, *TINY, *words, *flash)
    assert status == 0
    assert len([line for line in out.splitlines() if line.startswith("v")]) == 2  # the table
    v5e, v4 = json.loads(path.read_text())["plans"]
    assert v5e["chips"] == v4["chips"] == v4["devices"] == 4  # megacore: one device a chip
    assert v5e["batch_size"] == v5e["rows_per_host"] == 12
    assert v5e["hosts"] == v4["hosts"] == 1
    assert v5e["feed"]["needed"] == pytest.approx(12 / v5e["compute"]["seconds"])
    assert v5e["parameters"] == v4["parameters"]
    assert v5e["model_flops"] == v4["model_flops"]
    for one in (v5e, v4):
        assert one["compute"]["is_complete"]
        assert one["compute"]["unknown_loops"] == []
        backward, forward = (runs for _, runs in sorted(one["compute"]["kernels"].items()))
        assert forward[0] == backward[0] == 2  # layers
        assert 0 < forward[1] + backward[1] < one["compute"]["seconds"]
        assert 0 < one["mfu"] < 1
        assert one["memory"]["needed"] < one["memory"]["limit"]
    assert v5e["memory"]["limit"] == round(15.75 * 2**30)


def test_only_full_rematerialisation_runs_kernels_again(tmp_path):
    def forward_runs(remat):
        path = tmp_path / f"{remat}.json"
        words = ["--topology", "v5e:2x2", "--mesh.preset", "fsdp", "--json", path]
        flash = ["--model.decoder.attention", "flash", "--model.decoder.remat", remat]
        assert plan(*STAGE, *TINY, *words, *flash)[0] == 0
        (one,) = json.loads(path.read_text())["plans"]
        (runs,) = (r for n, (r, _) in one["compute"]["kernels"].items() if "forward" in n)
        return runs

    assert [forward_runs(remat) for remat in ("kernels", "full")] == [2, 4]


@pytest.mark.parametrize(("remat", "gathers"), [("none", 1), ("full", 2)])
def test_gathers_multiply_with_layers(tmp_path, remat, gathers):
    def gathered(layers):
        path = tmp_path / f"{layers}.json"
        words = ["--topology", "v5e:2x2", "--mesh.preset", "fsdp", "--json", path]
        words += ["--model.decoder.layers", layers, "--model.decoder.remat", remat]
        assert plan(*STAGE, *TINY, *words)[0] == 0
        (one,) = json.loads(path.read_text())["plans"]
        return one["collectives"]["all-gather"]["bytes"], one["parameter_traffic"]

    (two, own_two), (four, own_four) = gathered(2), gathered(4)
    # Gathers of each weight in bfloat16, a second one only for what is computed again, against
    # three exchanges in float32.
    ratio = (four - two) / (own_four - own_two)
    assert ratio == pytest.approx(gathers * 2 / (3 * 4), rel=0.05)


@pytest.mark.parametrize("name", ["codec", "encoder"])
def test_the_tokenizers_steps(tmp_path, name):
    path = tmp_path / "plan.json"
    words = ["--topology", "v5e:2x2", "--mesh.preset", "dp", "--json", path]
    status, out, _ = plan(f"configs/demo/{name}.py", *words)
    assert status == 0
    assert "audio seconds a second" in out
    (one,) = json.loads(path.read_text())["plans"]
    assert one["model_flops"] > 0
    assert one["compute"]["seconds"] >= one["compute"]["cheapest_seconds"] > 0
    gradients = 4 * one["parameters"]
    assert one["collectives"]["all-reduce"]["bytes"] >= gradients


def test_a_step_that_does_not_fit():
    words = ["--topology", "v5e:2x2", "v5p:2x2x1", "--mesh.preset", "dp", "--batch-size", "50000"]
    status, out, _ = plan(*STAGE, *TINY, *words)
    assert status == 1
    assert "DOES NOT FIT" in out
    assert "largest buffers" in out
    assert "what to do" in out
    assert "of 95.74 GiB" in out
