"""Metrics as JSON lines and TensorBoard events, and the progress line.

`metrics.jsonl` holds only what the seed and the data decide, so it is the same, byte for byte,
whether a run was interrupted or not; everything that a clock has measured goes to `timing.jsonl`.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import jax

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
HELDOUT = "heldout/"


class MetricsWriter:
    """Writes the metrics of one run directory; use as a context manager.

    Of several hosts only the first one writes.

    Args:
      directory: the run directory.
      restored_step: completed steps that the run goes on from; later lines of an earlier start
        are dropped.
      tensorboard: also write TensorBoard event files to the folder `tensorboard`.

    Attributes:
      evaluated_step: the last step with held-out metrics at the start, None if there is none.
    """

    def __init__(self, directory: Path, restored_step: int, tensorboard: bool):
        self._events = None
        writes = jax.process_index() == 0
        if writes:
            truncate_after(directory / METRICS, restored_step)
        heldout = [
            line["step"]
            for line in read_metrics(directory / METRICS)
            if line["step"] <= restored_step and any(n.startswith(HELDOUT) for n in line)
        ]
        self.evaluated_step = max(heldout, default=None)
        self._metrics = (directory / METRICS if writes else Path(os.devnull)).open("a")
        self._timing = (directory / TIMING if writes else Path(os.devnull)).open("a")
        if tensorboard and writes:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(
                str(directory / "tensorboard"), purge_step=restored_step + 1
            )

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._metrics.close()
        self._timing.close()
        if self._events is not None:
            self._events.close()

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line; values become Python floats exactly, those not finite null."""
        self._append(self._metrics, step, values)

    def write_heldout(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line of held-out means, each name preceded by `heldout/`."""
        self._append(self._metrics, step, {HELDOUT + name: x for name, x in values.items()})

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line of measured times."""
        self._append(self._timing, step, values)

    def _append(self, file: TextIO, step: int, values: Mapping[str, Any]) -> None:
        floats = {name: float(values[name]) for name in sorted(values)}
        line = {n: value if math.isfinite(value) else None for n, value in floats.items()}
        file.write(json.dumps({"step": step, **line}, allow_nan=False) + "\n")
        file.flush()
        if self._events is not None:
            for name, value in floats.items():
                self._events.add_scalar(name, value, step)

    def sync(self) -> None:
        """Returns when the lines are on disk: no checkpoint may be ahead of its metrics."""
        if self._metrics.name != os.devnull:
            os.fsync(self._metrics.fileno())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics or timing file; a last line cut short by a kill is left out."""
    return [json.loads(line) for line in _complete_lines(path)]


def truncate_after(path: Path, step: int) -> None:
    """Drops the lines of later steps, and a last line that was cut short."""
    if not path.exists():
        return
    kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= step]
    scratch = path.with_suffix(".tmp")
    scratch.write_text("".join(kept))
    os.replace(scratch, path)


def _complete_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


class Progress:
    """Shows how far a run is: one line that updates on a terminal, plain lines elsewhere.

    Use as a context manager. Of several hosts only the first one prints.

    Args:
      total: steps of the whole run.
      seconds: time between two plain lines; a terminal is updated ten times as often.
      stream: where to; None is standard error.
    """

    def __init__(self, total: int, seconds: float, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._prints = jax.process_index() == 0
        self._total = total
        self._interval = seconds / 10 if self._terminal else seconds
        self._first: tuple[int, float] | None = None
        self._shown = -math.inf
        self._open_line = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_line()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Reports `step` completed steps and a few values, if it is time for it."""
        now = time.monotonic()
        # The rate is counted from the first step done: compiling would spoil it.
        first_step, since = self._first = self._first or (step, now)
        if now - self._shown < self._interval and step < self._total:
            return
        self._shown = now
        parts = [f"step {step}/{self._total}"]
        parts += [f"{name} {value:.4g}" for name, value in values.items()]
        if step > first_step:
            rate = (step - first_step) / (now - since)
            parts.append(f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step")
            parts.append(f"ETA {_clock((self._total - step) / rate)}")
        text = "  ".join(parts)
        if self._terminal and self._prints:
            self._stream.write("\r\x1b[K" + text)
            self._stream.flush()
            self._open_line = True
        else:
            self.note(text)

    def note(self, text: str) -> None:
        """Prints a line of its own."""
        self._end_line()
        if self._prints:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _end_line(self) -> None:
        if self._open_line:
            self._stream.write("\n")
            self._open_line = False


class StepClock:
    """Measures seconds per step since the last report, without evaluation and checkpoints."""

    def __init__(self) -> None:
        self._compiled: float | None = None
        self._start()

    def _start(self) -> None:
        self._since, self._paused, self._waited, self._steps = time.monotonic(), 0.0, 0.0, 0

    def tick(self) -> None:
        """Counts a step whose metrics have arrived."""
        self._steps += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of the block out."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - started

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time of the block as waiting for data."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - started

    @contextlib.contextmanager
    def dispatching(self) -> Iterator[None]:
        """Marks a call of the step function: the first one compiles, which is kept apart."""
        if self._compiled is not None:
            yield
            return
        paused = self._paused
        with self.paused():
            yield
        self._compiled = self._paused - paused

    def report(self) -> dict[str, float]:
        """Seconds per step, and the part of them spent waiting for data; starts anew.

        The first report also holds `compile_seconds`, which count for no step.
        """
        seconds = time.monotonic() - self._since - self._paused
        report = {
            "seconds_per_step": seconds / max(self._steps, 1),
            "data_wait_seconds_per_step": self._waited / max(self._steps, 1),
        }
        if self._compiled:
            report["compile_seconds"] = self._compiled
            self._compiled = 0.0
        self._start()
        return report


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
