import io
import json
import random
import sys
import types

import numpy as np
import pytest

from audiolm_jax.audio.files import read_audio
from audiolm_jax.errors import InputError
from audiolm_jax.training.metrics import MetricsWriter, read_metrics
from audiolm_jax.training.progress import Progress, StepClock


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
        assert writer.heldout == {}
        for step in (2, 4):
            writer.write(step, {"loss": 1.0})
            writer.write_heldout(step, {"loss": 2.0})
    for restored, expected in [(5, 4), (4, 4), (3, 2), (2, 2), (1, None)]:
        with MetricsWriter(tmp_path, restored, tensorboard=False) as writer:
            assert max(writer.heldout, default=None) == expected
            assert all(means == {"loss": 2.0} for means in writer.heldout.values())


def test_tensorboard_files_are_written_without_tensorflow(tmp_path):
    with MetricsWriter(tmp_path, 0, tensorboard=True) as writer:
        writer.write(1, {"loss": 0.5})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_lines_of_the_log_elsewhere_and_one_line_on_a_terminal(caplog, monkeypatch):
    caplog.set_level("INFO")
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress(3, seconds=1e-9) as progress:
            for step in (1, 2, 3):
                progress.update(step, {"loss": 0.25})
            progress.note("done")
    assert plain.getvalue() == ""
    began = [line.split("  ")[0] for line in caplog.messages]
    assert began == ["step 1/3", "step 2/3", "step 3/3", "done", "done"]
    assert "loss 0.25" in caplog.messages[1]
    assert "ETA 0:00:00" in caplog.messages[2]
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().count("\r") == 3


def test_lines_of_the_log_are_rare_but_the_last_one_is_shown(caplog):
    caplog.set_level("INFO")
    progress = Progress(100, seconds=1e6)
    for step in range(1, 101):
        progress.update(step, {})
    assert [line.split("  ")[0] for line in caplog.messages] == ["step 1/100", "step 100/100"]


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
        "data_wait_share": 2 / 3,
        "compile_seconds": 50.0,
    }
    spend(5)
    clock.tick()
    assert clock.report() == {
        "seconds_per_step": 5.0,
        "data_wait_seconds_per_step": 0.0,
        "data_wait_share": 0.0,
    }


def test_clock_reports_rates_and_the_share_of_the_peak(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = StepClock(("tokens", 100.0), model_flops=6e9, peak_flops=1e10)
    for _ in range(4):
        now[0] += 2
        clock.tick()
    report = clock.report()
    assert report["tokens_per_second"] == 50
    assert report["model_flops_per_second"] == 3e9
    assert report["mfu"] == 0.3
    assert report["filled_share"] == 1


def test_padding_is_no_throughput(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = StepClock(("tokens", 100.0), model_flops=6e9, peak_flops=1e10)
    for filled in ((0.5, 0.25), (0.25, 0.125), (1.0, 1.0), (0.25, 0.125)):
        now[0] += 2
        clock.tick(filled)
    report = clock.report()
    assert report["filled_share"] == 0.5
    assert report["tokens_per_second"] == 25
    assert report["model_flops_per_second"] == 1.125e9
    assert report["mfu"] == 0.1125


class FakeWandb(types.ModuleType):
    """Records what it is told; the real package would want a network."""

    def __init__(self):
        super().__init__("wandb")
        self.started, self.lines, self.ended = [], [], []

    def init(self, **fields):
        self.started.append(fields)
        return self

    def log(self, values, step):
        self.lines.append((step, values))

    def finish(self, exit_code):
        self.ended.append(exit_code)


def test_weights_and_biases_gets_every_line_and_the_same_run_again(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (tmp_path / "run").mkdir()
    for step, folder in ((1, tmp_path / "run"), (2, tmp_path / "there" / "run")):
        if step == 2:  # it has moved
            folder.parent.mkdir()
            (tmp_path / "run").rename(folder)
        with MetricsWriter(folder, step - 1, False, "project", {"rate": 1}) as writer:
            writer.write(step, {"loss": 0.5})
            writer.write_heldout(step, {"loss": 0.25})
    assert fake.lines == [
        (step, values) for step in (1, 2) for values in ({"loss": 0.5}, {"heldout/loss": 0.25})
    ]
    first, again = fake.started
    assert first | {"dir": str(folder)} == again
    assert (first["project"], first["config"]) == ("project", {"rate": 1})
    assert fake.ended == [0, 0]
    fake.started.clear()
    with MetricsWriter(tmp_path, 0, False):
        pass
    assert fake.started == []


def test_weights_and_biases_asked_for_but_not_installed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"--loop\.wandb-project p: the package wandb is not"):
        MetricsWriter(tmp_path, 0, False, "p")


def test_audio_becomes_a_wav_file_and_an_event(tmp_path):
    sound = np.sin(np.arange(1600) / 10).astype(np.float32)
    with MetricsWriter(tmp_path, 0, tensorboard=True) as writer:
        writer.write_audio(7, "clip", sound, 16000)
    samples, rate = read_audio(tmp_path / "samples" / "clip_step_7.wav")
    assert rate == 16000
    np.testing.assert_allclose(samples, sound, atol=1e-4)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"samples/clip" in events.read_bytes()
