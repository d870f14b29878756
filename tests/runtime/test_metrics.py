import io
import json
import random

import numpy as np

from audiolm_jax.runtime.metrics import MetricsWriter, Progress, StepClock, read_metrics


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_values_are_kept_exactly(tmp_path):
    values = {"tenth": np.float32(0.1), "huge": np.float64(1e300), "tiny": np.float32(1e-45)}
    with MetricsWriter(tmp_path, 0, tensorboard=False) as writer:
        writer.write(3, values)
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert line == {"step": 3} | {name: float(value) for name, value in values.items()}


def test_what_is_not_finite_stays_valid_json(tmp_path):
    with MetricsWriter(tmp_path, 0, tensorboard=False) as writer:
        writer.write(1, {"a": float("nan"), "b": float("-inf"), "c": 1.0})
    text = (tmp_path / "metrics.jsonl").read_text()
    line = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert line == {"step": 1, "a": None, "b": None, "c": 1.0}


def test_resuming_restores_the_bytes_that_were_there_at_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(tmp_path, 0, tensorboard=False) as writer:
        for step in range(1, 6):
            writer.write(step, {"loss": 1 / step})
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in random.Random(0).sample(range(len(whole)), 20):
        path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        for restored in range(complete + 1):
            path.write_bytes(whole[:cut])
            with MetricsWriter(tmp_path, restored, tensorboard=False):
                pass
            assert path.read_bytes() == whole[: ([0, *ends])[restored]]


def test_last_evaluated_step_is_found(tmp_path):
    with MetricsWriter(tmp_path, 0, tensorboard=False) as writer:
        assert writer.evaluated_step is None
        for step in (2, 4):
            writer.write(step, {"loss": 1.0})
            writer.write_heldout(step, {"loss": 2.0})
    for restored, expected in [(5, 4), (4, 4), (3, 2), (2, 2), (1, None)]:
        with MetricsWriter(tmp_path, restored, tensorboard=False) as writer:
            assert writer.evaluated_step == expected


def test_tensorboard_files_are_written_without_tensorflow(tmp_path):
    with MetricsWriter(tmp_path, 0, tensorboard=True) as writer:
        writer.write(1, {"loss": 0.5})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_plain_lines_elsewhere_and_one_line_on_a_terminal():
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        with Progress(3, seconds=1e-9, stream=stream) as progress:
            for step in (1, 2, 3):
                progress.update(step, {"loss": 0.25})
            progress.note("done")
    lines = plain.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/3", "step 2/3", "step 3/3", "done"]
    assert "loss 0.25" in lines[1]
    assert "ETA 0:00" in lines[2]
    assert "\r" not in plain.getvalue()
    assert terminal.getvalue().count("\n") == 2
    assert terminal.getvalue().count("\r") == 3


def test_plain_lines_are_rare_but_the_last_one_is_shown():
    stream = io.StringIO()
    progress = Progress(100, seconds=1e6, stream=stream)
    for step in range(1, 101):
        progress.update(step, {})
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == [
        "step 1/100",
        "step 100/100",
    ]


def test_clock_leaves_out_pauses_and_compiling(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = StepClock()

    def spend(seconds, block=None):
        if block is None:
            now[0] += seconds
            return
        with block:
            now[0] += seconds

    spend(50, clock.dispatching())
    for _ in range(4):
        spend(1, clock.dispatching())
        spend(2, clock.waiting())
        clock.tick()
    spend(100, clock.paused())
    assert clock.report() == {
        "seconds_per_step": 3.0,
        "data_wait_seconds_per_step": 2.0,
        "compile_seconds": 50.0,
    }
    spend(5)
    clock.tick()
    assert clock.report() == {"seconds_per_step": 5.0, "data_wait_seconds_per_step": 0.0}
