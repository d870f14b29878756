import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import training_toy as toy

from audiolm_jax.errors import InputError
from audiolm_jax.training import heldout_pass, preemption
from audiolm_jax.training.checkpoints import Checkpoints, latest_step, saved_steps
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig
from audiolm_jax.training.divergence import NonFiniteError
from audiolm_jax.training.loop import LoopContext, load_state
from audiolm_jax.training.metrics import read_metrics
from audiolm_jax.training.preemption import TrainingStopped
from audiolm_jax.training.state import Sums, TrainProgram, TrainState

# A reader that fails on a damaged file leaves futures behind that nobody asks for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STEPS = 15  # a multiple of none of the three intervals


@dataclasses.dataclass(frozen=True)
class Reference:
    state: object
    metrics: bytes


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "reference"
    state = toy.run_toy(directory, toy.loop_config(STEPS))
    return Reference(jax.device_get(state), (directory / "metrics.jsonl").read_bytes())


def assert_ends_like(reference, directory, state):
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(reference.state), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    assert (directory / "metrics.jsonl").read_bytes() == reference.metrics
    assert latest_step(directory) == STEPS


def stopping_batches(at, number=signal.SIGTERM):
    """The data, with a signal to this process while batch `at` is prepared."""

    def batches(start):
        for step, batch in zip(itertools.count(start), toy.batches(start), strict=False):
            if step == at:
                os.kill(os.getpid(), number)
                time.sleep(0.05)
            yield batch

    return batches


def test_lines_are_written_on_schedule(reference):
    lines = [json.loads(line) for line in reference.metrics.splitlines()]
    trained = [line["step"] for line in lines if "loss" in line]
    evaluated = [line["step"] for line in lines if "heldout/loss" in line]
    assert trained == [1, 2, 4, 6, 8, 10, 12, 14]
    assert evaluated == [6, 12, 15]
    assert int(reference.state.step) == STEPS


@pytest.mark.parametrize("stop", [0, 3])
def test_the_start_is_evaluated_and_kept_as_any_other_step(reference, tmp_path, stop):
    """Whether the run is stopped right after it, later or not at all; nothing else changes."""
    config = toy.loop_config(STEPS, evaluate_start=True, keep_best=9)
    with pytest.raises(TrainingStopped):
        toy.run_toy(tmp_path / "run", config, batches=stopping_batches(stop))
    state = toy.run_toy(tmp_path / "run", config)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(reference.state), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    first, *lines = (tmp_path / "run" / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    assert b"".join(lines) == reference.metrics
    untrained = toy.run_toy(tmp_path / "start", toy.loop_config(1, evaluate_every=1))
    assert saved_steps(tmp_path / "run")[0] == 0
    start = load_state(toy.make_program(), tmp_path / "run", MeshConfig(), 0)
    assert int(start.step) == 0
    moved = jax.tree.map(
        lambda a, b: np.any(np.asarray(a) != np.asarray(b)), start.params, untrained.params
    )
    assert any(jax.tree.leaves(moved))
    assert json.loads(first).keys() == {"step", "heldout/loss"}
    assert json.loads(first)["step"] == 0


def test_each_step_gets_its_batch_and_its_key(tmp_path):
    def step(state, batch, key):
        metrics = {"loss": jax.random.uniform(key), "x": batch["x"][3, 2]}
        return dataclasses.replace(state, step=state.step + 1), metrics

    program = TrainProgram(
        lambda key: TrainState(jnp.int32(0), {}, {}, (), {}),
        step,
        lambda state, batch: Sums({"loss": 1.0}, {"loss": 1.0}),
        lambda state: {},
    )
    for steps in (2, 4):  # the second time it goes on
        toy.run_toy(tmp_path, toy.loop_config(steps, seed=5, log_every=1), program=program)
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "loss" in line]
    for step, line in enumerate(lines):
        key = jax.random.fold_in(jax.random.key(5), step)
        assert line == {
            "step": step + 1,
            "loss": float(jax.random.uniform(key)),
            "x": float(toy.make_batch(step)["x"][3, 2]),
        }
    assert len(lines) == 4


def test_the_step_is_compiled_once_even_if_the_initial_state_is_weakly_typed(tmp_path):
    program = toy.make_program()
    traces = []

    def init(key):
        state = program.init(key)
        return dataclasses.replace(state, rest={"mean": jnp.broadcast_to(0.0, (toy.WIDTH,))})

    def step(state, batch, key):
        traces.append(1)
        return program.step(state, batch, key)

    counted = dataclasses.replace(program, init=init, step=step)
    toy.run_toy(tmp_path, LoopConfig(steps=3), program=counted)
    assert len(traces) == 1


def test_each_step_says_how_full_its_batch_was(tmp_path):
    def filled(rows):
        number = [(rows["x"] == toy.make_batch(step)["x"]).all() for step in range(4)].index(True)
        return (number + 1) / 8, 1.0

    context = LoopContext(units=("tokens", 64.0), filled=filled)
    toy.run_toy(tmp_path, toy.loop_config(4, evaluate_every=4), context=context)
    shares = [line["filled_share"] for line in read_metrics(tmp_path / "timing.jsonl")]
    assert shares == [1 / 8, 2 / 8, (3 + 4) / 16]
    for line, share in zip(read_metrics(tmp_path / "timing.jsonl"), shares, strict=True):
        expected = 64 * share / line["seconds_per_step"]
        assert line["tokens_per_second"] == pytest.approx(expected)


def test_heldout_mean_is_over_all_batches(reference):
    program = toy.make_program()
    parts = [program.evaluate(reference.state, batch).totals["loss"] for batch in toy.heldout()]
    last = json.loads(reference.metrics.splitlines()[-1])
    np.testing.assert_allclose(
        last["heldout/loss"], sum(map(float, parts)) / (2 * toy.BATCH), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGTERM, 75, id="term"),
        pytest.param(signal.SIGINT, 130, id="int", marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop_it_saves_and_goes_on_as_if_nothing_had_been(
    reference, tmp_path, number, status
):
    handler = signal.getsignal(number)
    with pytest.raises(TrainingStopped) as stopped:
        toy.run_toy(tmp_path, toy.loop_config(STEPS), batches=stopping_batches(7, number))
    assert stopped.value.code == status
    assert signal.getsignal(number) is handler
    assert 0 < latest_step(tmp_path) < STEPS
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))


def test_killed_it_goes_on_as_if_nothing_had_been(reference, tmp_path, compile_cache):
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "JAX_COMPILATION_CACHE_DIR": str(compile_cache),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, toy.__file__, str(tmp_path), str(STEPS), "0.3"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    # Somewhere after a checkpoint, with metrics written that are ahead of it.
    metrics = tmp_path / "metrics.jsonl"
    while (
        not ((latest_step(tmp_path) or 0) >= 8 and read_metrics(metrics)[-1]["step"] >= 10)
        and time.monotonic() < deadline
    ):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert 8 <= latest_step(tmp_path) < STEPS
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))


def pass_that(monkeypatch, act):
    """Held-out batches; before the first of each pass `act` is called with the pass's number."""
    whole, passes = toy.heldout, itertools.count()

    def heldout():
        act(next(passes))
        yield from whole()

    monkeypatch.setattr(toy, "heldout", heldout)


def test_the_checkpoint_of_a_step_is_on_disk_before_the_step_is_evaluated(
    reference, tmp_path, monkeypatch
):
    there = []
    pass_that(monkeypatch, lambda number: there.append(saved_steps(tmp_path)[-1]))
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))
    assert there == [6, 12, 15]


@pytest.mark.parametrize(
    "at", [pytest.param(0, id="first"), pytest.param(2, id="last", marks=pytest.mark.slow)]
)
def test_killed_while_evaluating_it_repeats_the_pass_and_no_step(
    reference, tmp_path, monkeypatch, at
):
    def fail(number):
        if number == at:
            raise ConnectionError

    with monkeypatch.context() as patch:
        pass_that(patch, fail)
        with pytest.raises(ConnectionError):
            toy.run_toy(tmp_path, toy.loop_config(STEPS))
    step = (6, 12, STEPS)[at]
    assert latest_step(tmp_path) == step
    assert (tmp_path / "metrics.jsonl").read_bytes().count(b"heldout") == at
    started = []

    def batches(start):
        started.append(start)
        yield from toy.batches(start)

    state = toy.run_toy(tmp_path, toy.loop_config(STEPS), batches=batches)
    assert set(started) <= {step}
    assert_ends_like(reference, tmp_path, state)


@pytest.mark.parametrize(
    "heldout", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["to train on", "held out"]
)
def test_asked_to_stop_it_waits_for_no_batch(reference, tmp_path, monkeypatch, heldout):
    """Which may take minutes from a network folder; the state is saved before."""
    ended = threading.Event()

    def hang(number):
        if number == (1 if heldout else 7) and not ended.is_set():
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
            ended.wait(30)

    def batches(start):
        for step, batch in zip(itertools.count(start), toy.batches(start), strict=False):
            if not heldout:
                hang(step)
            yield batch

    with monkeypatch.context() as patch:
        if heldout:
            pass_that(patch, hang)
        began = time.monotonic()
        with pytest.raises(TrainingStopped):
            toy.run_toy(tmp_path, toy.loop_config(STEPS), batches=batches)
        assert time.monotonic() - began < 15
    ended.set()
    assert latest_step(tmp_path) in ((12,) if heldout else (6, 7))  # 6: it was still there
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))


@pytest.mark.slow
def test_stopped_while_evaluating_it_evaluates_later(reference, tmp_path, monkeypatch):
    def stop(number):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)

    with monkeypatch.context() as patch:
        pass_that(patch, stop)
        with pytest.raises(TrainingStopped):
            toy.run_toy(tmp_path, toy.loop_config(STEPS))
    assert latest_step(tmp_path) == 6
    assert b"heldout" not in (tmp_path / "metrics.jsonl").read_bytes()
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))


def test_hosts_look_for_a_notice_at_each_step_and_each_heldout_batch(
    reference, tmp_path, monkeypatch
):
    """JAX's service stops hosts at an agreed count of looks, so no number may be left out."""
    looks = []

    def reached(self, look):
        looks.append(look)
        return look == 8  # 0 to 6 are steps, 7 and 8 the two held-out batches

    with monkeypatch.context() as patch:
        patch.setattr(preemption, "jax", SimpleNamespace(process_count=lambda: 2))
        patch.setattr(Checkpoints, "reached_preemption", reached)
        with pytest.raises(TrainingStopped) as stopped:
            toy.run_toy(tmp_path, toy.loop_config(STEPS))
    assert stopped.value.code == 75
    assert looks == list(range(9))
    assert latest_step(tmp_path) == 6
    assert b"heldout" not in (tmp_path / "metrics.jsonl").read_bytes()
    assert_ends_like(reference, tmp_path, toy.run_toy(tmp_path, toy.loop_config(STEPS)))


def test_heldout_batches_are_read_ahead_and_no_result_is_waited_for_at_once(tmp_path, monkeypatch):
    """While the devices compute one batch the next is on its way to them."""
    events, program = [], toy.make_program()

    def heldout():
        for number in range(4):
            events.append(f"read {number} on {threading.current_thread().name}")
            yield toy.make_batch(number)

    def wait(tree):
        events.append("wait")
        return jax.device_get(tree)

    monkeypatch.setattr(heldout_pass, "jax", SimpleNamespace(device_get=wait))
    calls = itertools.count()

    def evaluate(state, batch):
        events.append(f"compute {next(calls)}")
        return program.evaluate(state, batch)

    heldout_pass.heldout_means(evaluate, program.init(jax.random.key(0)), heldout, lambda n: False)
    assert {e for e in events if "read" in e} == {f"read {n} on prefetch" for n in range(4)}
    order = [event for event in events if "read" not in event]
    assert order.index("compute 1") < order.index("wait")
    assert order[-2:] == ["wait", "wait"]


@pytest.mark.slow
def test_samples_belong_to_the_pass(reference, tmp_path):
    """Killed while it makes them, it makes them again; they come before the line that ends it."""
    made = []

    def on_evaluate(step, state, writer):
        made.append((step, (tmp_path / "metrics.jsonl").read_bytes().count(b"heldout")))
        if len(made) == 2:
            raise ConnectionError

    context = LoopContext(on_evaluate=on_evaluate)
    with pytest.raises(ConnectionError):
        toy.run_toy(tmp_path, toy.loop_config(STEPS), context=context)
    state = toy.run_toy(tmp_path, toy.loop_config(STEPS), context=context)
    assert made == [(6, 0), (12, 1), (12, 1), (15, 2)]
    assert_ends_like(reference, tmp_path, state)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_steps_but_not_the_result(reference, tmp_path, caplog):
    toy.run_toy(tmp_path, toy.loop_config(STEPS))
    for path in (tmp_path / "checkpoints" / str(STEPS)).rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[:10])
    caplog.set_level("INFO")
    state = toy.run_toy(tmp_path, toy.loop_config(STEPS))
    assert "going on from step 12" in caplog.text
    assert_ends_like(reference, tmp_path, state)


def test_more_steps_extend_a_finished_run(reference, tmp_path, caplog):
    toy.run_toy(tmp_path, toy.loop_config(12))
    state = toy.run_toy(tmp_path, toy.loop_config(STEPS))
    assert_ends_like(reference, tmp_path, state)
    caplog.set_level("INFO")

    def no_batches(start):
        raise AssertionError("a finished run needs no data")

    again = toy.run_toy(tmp_path, toy.loop_config(STEPS), batches=no_batches)
    assert_ends_like(reference, tmp_path, again)
    assert "finished, 15 steps" in caplog.text
    assert_ends_like(reference, tmp_path, load_state(toy.make_program(), tmp_path, MeshConfig()))


@pytest.mark.parametrize("preset", ["none", "fsdp"])
def test_parameters_begin_as_they_are_told_once(tmp_path, preset):
    """With the key of the random start, which they may use; a resumed run begins nowhere."""
    begun = []

    def begin(params, key):
        begun.append(key)
        shifted = jax.random.normal(jax.random.fold_in(key, 5))
        return jax.tree.map(lambda leaf: 0 * leaf + shifted, params)

    def run(steps):
        context = LoopContext(begin=begin)
        still = toy.make_program(OptimizerConfig(learning_rate=1e-30))  # rounds to nothing
        return toy.run_toy(
            tmp_path / preset, toy.loop_config(steps), preset, still, context=context
        )

    first = run(4)
    values = {float(x) for leaf in jax.tree.leaves(first.params) for x in np.ravel(leaf)}
    assert len(values) == 1
    assert len(begun) == 1
    again = run(6)
    assert len(begun) == 1
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)


@pytest.mark.slow
def test_goes_on_under_another_mesh(reference, tmp_path):
    toy.run_toy(tmp_path, toy.loop_config(8))
    state = toy.run_toy(tmp_path, toy.loop_config(STEPS), "fsdp", replicas=2)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in reference.metrics.splitlines()]
    by_step = {(line["step"], len(line)): line for line in expected}
    for line in lines:
        if (line["step"], len(line)) in by_step:
            other = by_step[line["step"], len(line)]
            np.testing.assert_allclose(list(line.values()), list(other.values()), rtol=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(reference.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_another_seed_is_another_run(reference, tmp_path):
    toy.run_toy(tmp_path, toy.loop_config(2, seed=1))
    first, other = reference.metrics.splitlines()[0], (tmp_path / "metrics.jsonl").read_bytes()
    assert json.loads(first)["loss"] != json.loads(other.splitlines()[0])["loss"]


@pytest.mark.parametrize(("step", "good"), [pytest.param(8, 6, marks=pytest.mark.slow), (10, 8)])
def test_not_finite_stops_with_the_step_and_the_last_good_checkpoint(tmp_path, step, good):
    program = toy.make_program(poison_step=step - 1)  # 8 is to be a checkpoint itself
    with pytest.raises(NonFiniteError) as error:
        toy.run_toy(tmp_path, toy.loop_config(STEPS), program=program)
    message = str(error.value)
    assert f"loss = nan at step {step}" in message
    assert f"last checkpoint: step {good};" in message
    assert "\n" not in message
    assert latest_step(tmp_path) == good
    state = load_state(program, tmp_path, MeshConfig())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_a_run_that_is_lost_by_its_heldout_data_stops_and_stays_stopped(tmp_path, monkeypatch):
    seen, passes = [], []
    pass_that(monkeypatch, passes.append)

    def verdict(means):
        seen.append(means["loss"])
        return "it has collapsed" if len(seen) > 1 else None

    program = dataclasses.replace(toy.make_program(), verdict=verdict)
    for _ in range(2):
        with pytest.raises(InputError, match="held-out data at step 12: it has collapsed"):
            toy.run_toy(tmp_path, toy.loop_config(20), program=program)
        assert saved_steps(tmp_path)[-1] == 12
        assert read_metrics(tmp_path / "metrics.jsonl")[-1] == {"step": 12, "heldout/loss": seen[1]}
    assert seen[1] == seen[2]
    assert passes == [0, 1]


def test_parameters_that_are_not_finite_are_never_saved(tmp_path):
    program = toy.make_program()

    def step(state, batch, key):
        state, metrics = program.step(state, batch, key)
        rest = {"mean": jnp.where(state.step == 4, jnp.inf, state.rest["mean"])}
        return dataclasses.replace(state, rest=rest), metrics

    with pytest.raises(
        NonFiniteError, match=r"at step 4; last finite: step 0, so one of the steps 1 to 4 did"
    ):
        toy.run_toy(
            tmp_path, toy.loop_config(STEPS), program=dataclasses.replace(program, step=step)
        )
    assert latest_step(tmp_path) is None


def test_a_second_trainer_is_refused(tmp_path):
    seen = []
    program = toy.make_program()

    def batches(start):
        with pytest.raises(InputError, match=r"another process .* is writing here"):
            toy.run_toy(tmp_path, toy.loop_config(2), program=program)
        seen.append(start)
        yield from toy.batches(start)

    toy.run_toy(tmp_path, toy.loop_config(2), batches=batches)
    assert seen == [0]


def test_data_that_end_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"--loop\.steps 15: the data ended after 3 batches"):
        toy.run_toy(
            tmp_path,
            toy.loop_config(STEPS),
            batches=lambda start: itertools.islice(toy.batches(start), 3),
        )


def test_errors_of_the_data_come_through(tmp_path):
    def batches(start):
        yield toy.make_batch(0)
        raise InputError("clip.wav: damaged")

    with pytest.raises(InputError, match=r"clip\.wav: damaged"):
        toy.run_toy(tmp_path, toy.loop_config(STEPS), batches=batches)


def test_no_heldout_batch_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(toy, "heldout", list)
    with pytest.raises(InputError, match="held-out data: no batch"):
        toy.run_toy(tmp_path, toy.loop_config(2))


def test_heldout_count_of_zero_is_null_not_a_crash(tmp_path):
    program = toy.make_program()

    def evaluate(state, batch):
        sums = program.evaluate(state, batch)
        return Sums({**sums.totals, "none": 0.0}, {**sums.counts, "none": 0.0})

    toy.run_toy(
        tmp_path, toy.loop_config(1), program=dataclasses.replace(program, evaluate=evaluate)
    )
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["heldout/none"] is None
    assert last["heldout/loss"] > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "--loop.steps 0"),
        ({"steps": 5, "seed": -1}, "--loop.seed -1"),
        ({"steps": 5, "log_every": 0}, "--loop.log-every 0"),
        ({"steps": 5, "heldout_batches": 0}, "--loop.heldout-batches 0: expected 1 or more, or"),
        ({"steps": 5, "keep_checkpoints": 0}, "--loop.keep-checkpoints 0"),
        ({"steps": 5, "progress_seconds": 0.0}, "--loop.progress-seconds 0.0"),
    ],
)
def test_config_refuses(fields, words):
    with pytest.raises(InputError) as error:
        LoopConfig(**fields)
    assert words in str(error.value)


def test_loading_from_an_empty_directory_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no checkpoint here"):
        load_state(toy.make_program(), tmp_path, MeshConfig())
    assert list(tmp_path.iterdir()) == []
