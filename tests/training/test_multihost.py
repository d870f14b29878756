"""Several real processes train as one, each on its share of the data."""

import json
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from support import lm_run
from support import training_toy as toy
from support.hosts import LIMIT, finish, flags, free_port, hosts

from audiolm_jax.training.checkpoints import saved_steps
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.metrics import read_metrics

TESTS = Path(__file__).parents[1]
# Started, never imported: it sets up a host of its own kind.
WORKER = TESTS / "support/multihost_worker.py"


def toy_hosts(directory, steps, heldout_batches=2, seconds_each=0.0):
    """Commands of two hosts of the toy."""
    command = [sys.executable, str(WORKER), f"localhost:{free_port()}", "2"]
    words = [str(word) for word in (directory, steps, heldout_batches, seconds_each)]
    return [[*command, str(index), *words] for index in range(2)]


def run_toy_hosts(directory, steps, *heldout):
    with hosts(toy_hosts(directory, steps, *heldout)) as started:
        return finish(started)


def assert_same_metrics(one, two, tolerance):
    """The same lines; relative difference of every value at most `tolerance`."""
    expected = {(x["step"], len(x)): x for x in read_metrics(one / "metrics.jsonl")}
    lines = read_metrics(two / "metrics.jsonl")
    compared = [line for line in lines if (line["step"], len(line)) in expected]
    assert len(compared) == len(expected)
    for line in compared:
        other = expected[line["step"], len(line)]
        np.testing.assert_allclose(list(line.values()), list(other.values()), rtol=tolerance)


def test_two_hosts_train_as_one_on_the_same_mesh(tmp_path):
    toy.run_toy(tmp_path / "one", toy.loop_config(4), "fsdp", replicas=2)
    run_toy_hosts(tmp_path / "two", 4)
    assert_same_metrics(tmp_path / "one", tmp_path / "two", 1e-6)


@pytest.mark.slow
def test_hosts_go_on_from_one_and_one_from_hosts(tmp_path):
    """One process, then two, then one: the run ends as if it had been one all along.

    Once the newest checkpoint is damaged: the hosts agree on the one before.
    """
    one = toy.run_toy(tmp_path / "one", toy.loop_config(12))
    toy.run_toy(tmp_path / "two", toy.loop_config(3))
    run_toy_hosts(tmp_path / "two", 6)
    newest = tmp_path / "two" / "checkpoints" / "6"
    files = [f for f in newest.rglob("d/*") if f.is_file()]
    largest = max(files, key=lambda f: f.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"?")
    said = run_toy_hosts(tmp_path / "two", 9)
    assert ["damaged checkpoint" in errors for _, errors in said] == [True, False]
    assert (tmp_path / "two" / "checkpoints_unreadable" / "6").is_dir()
    two = toy.run_toy(tmp_path / "two", toy.loop_config(12))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert_same_metrics(tmp_path / "one", tmp_path / "two", 1e-5)


def command_line(root, run, steps, every_flag=()):
    """`audiolm train` of the tiny stage on the token store of `root`."""
    config = root / "config.py"
    if not config.exists():
        config.write_text(
            "from pathlib import Path\n"
            "from support import lm_run\n"
            "from audiolm_jax.training.mesh import MeshConfig\n"
            f"def experiment():\n"
            f"    return lm_run.experiment(Path({str(root)!r}), 20, MeshConfig('fsdp'))\n"
        )
    words = ["train", str(config), "--directory", str(root / run), "--loop.steps", str(steps)]
    return [sys.executable, "-m", "audiolm_jax", *words, *every_flag]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("hosts")
    lm_run.make_store(root)
    return root


@pytest.mark.slow
def test_the_command_on_two_hosts_is_the_command_on_one(store):
    """20 steps of a stage from its token store: same mesh, metrics, checkpoint and model."""
    with hosts([command_line(store, "one", 20)], devices=8) as started:
        finish(started)
    for name in ("two", "again"):
        with hosts([command_line(store, name, 20, each) for each in flags(2)]) as started:
            printed = finish(started)
        assert "model: written" in printed[0][0]
        # Gloo writes past Python, and its threads tear each other's lines.
        own = [line for line in printed[0][0].splitlines() if "rank" not in line.lower()]
        assert own
        assert not [line for line in own if line.strip() and line in printed[1][0]]
    for name in ("loss", "heldout/loss"):
        values = [
            [line[name] for line in read_metrics(store / run / "metrics.jsonl") if name in line]
            for run in ("one", "two")
        ]
        assert len(values[0]) == (20 if name == "loss" else 2)
        np.testing.assert_allclose(*values, rtol=1e-6)
    two, again = store / "two", store / "again"
    assert (two / "metrics.jsonl").read_bytes() == (again / "metrics.jsonl").read_bytes()
    models = [
        json.loads((store / run / "model" / "model.json").read_text()) for run in ("two", "again")
    ]
    assert models[0]["fingerprint"] == models[1]["fingerprint"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "mesh",
    [
        {"preset": "dp"},
        {"preset": "fsdp", "replicas": 2},
        {"preset": "fsdp_tp", "replicas": 2, "model": 2},
        {"preset": "fsdp_tp", "model": 8},  # each matrix is divided across the hosts
    ],
    ids=lambda mesh: "-".join(map(str, mesh.values())),
)
def test_twenty_steps_on_two_hosts_are_those_on_one(tmp_path, mesh):
    """Losses of a stage with dropout; from run to run the same bytes."""

    def run(name, every_flag, devices):
        script = [sys.executable, str(TESTS / "support/lm_run.py"), str(tmp_path / name), "20"]
        command = [*script, json.dumps(mesh)]
        with hosts([[*command, *each] for each in every_flag], devices) as started:
            finish(started)
        return tmp_path / name / "run" / "metrics.jsonl"

    one, two, again = run("one", [[]], 8), run("two", flags(2), 4), run("again", flags(2), 4)
    losses = [
        np.array([line["loss"] for line in read_metrics(path) if "loss" in line])
        for path in (one, two)
    ]
    assert len(losses[0]) == 20
    print(f"{mesh}: {np.max(np.abs(losses[1] / losses[0] - 1)):.1e}")
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert two.read_bytes() == again.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_a_host_that_is_asked_to_stop_stops_all_at_one_step(store, asked):
    """The run then goes on, on one host of the same mesh."""
    run = store / f"stopped{asked}"
    lines = [command_line(store, run.name, 5000, each) for each in flags(2)]
    with hosts(lines) as started:
        deadline = time.monotonic() + LIMIT
        while not (run / "metrics.jsonl").exists() or not read_metrics(run / "metrics.jsonl"):
            assert all(process.poll() is None for process in started)
            assert time.monotonic() < deadline
            time.sleep(0.2)
        started[asked].send_signal(signal.SIGTERM)
        finish(started, 75)
    (step,) = {max(saved_steps(run))}
    assert 0 < step < 5000
    assert max(line["step"] for line in read_metrics(run / "metrics.jsonl")) == step
    with hosts([command_line(store, run.name, 5000)], devices=8) as started:
        while max(line["step"] for line in read_metrics(run / "metrics.jsonl")) < step + 2:
            assert started[0].poll() is None
            assert time.monotonic() < deadline + LIMIT
            time.sleep(0.2)
        started[0].send_signal(signal.SIGTERM)
        printed, _ = finish(started, 75)[0]
    assert f"going on from step {step}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0, 1])
def test_a_notice_in_the_middle_of_a_pass_costs_that_pass_alone(tmp_path, asked):
    """The step is on disk; hosts stop at one batch, long before the pass would end."""
    batches, seconds = 100, 0.15
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    with hosts(toy_hosts(cut, 7, batches, seconds)) as started:
        deadline = time.monotonic() + LIMIT
        while not all((cut / f"pass_of_{index}").exists() for index in range(2)):
            assert all(process.poll() is None for process in started)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        assert saved_steps(cut)[-1] == 6
        asked_at = time.monotonic()
        started[asked].send_signal(signal.SIGTERM)
        finish(started, 75)
        took = time.monotonic() - asked_at
    print(f"{took:.1f} s from the notice to the end; the pass takes {batches * seconds:.0f} s")
    assert took < 0.7 * batches * seconds
    assert saved_steps(cut)[-1] == 6
    lines = read_metrics(cut / "metrics.jsonl")
    assert not [line for line in lines if "heldout/loss" in line or line["step"] > 6]
    said = run_toy_hosts(cut, 7, batches)
    assert "going on from step 6" in "".join(said[0])
    run_toy_hosts(whole, 7, batches)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_an_error_on_the_first_host_ends_all_with_one_line_each(store):
    run = store / "claimed"
    lines = [command_line(store, run.name, 20, each) for each in flags(2)]
    (run / "checkpoints" / "4").mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    with hosts(lines) as started:
        for _, errors in finish(started, 2):
            said = [line for line in errors.splitlines() if line.startswith("audiolm train:")]
            assert len(said) == 1
            assert "in this run directory" in said[0]


def test_a_mesh_of_one_device_is_refused_on_several_hosts(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    from audiolm_jax.errors import InputError
    from audiolm_jax.training.mesh import make_mesh

    with pytest.raises(InputError, match="start each of them with --distributed auto"):
        make_mesh(MeshConfig("dp"))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(InputError, match=r"--mesh\.preset none: uses one device, but 2 processes"):
        make_mesh(MeshConfig())
