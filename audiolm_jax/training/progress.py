"""How far a run is and how fast: the progress line, and the clock of the steps."""

import contextlib
import datetime
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping

import jax

from audiolm_jax.artifacts.terminal import draws

logger = logging.getLogger(__name__)


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Shows how far a run is: a line that updates on a terminal, lines of the log elsewhere,
    `seconds` between two of them, a tenth of it on a terminal."""

    def __init__(self, total: int, seconds: float):
        self._stream = sys.stderr
        # Of several hosts only the first one draws.
        self._draws = draws() and jax.process_index() == 0
        self._total = total
        self._interval = seconds / 10 if self._draws else seconds
        self._first: tuple[int, float] | None = None
        self._shown = -math.inf
        self._open_line = False

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
        event: dict[str, float] = {"step": step, "steps": self._total}
        event |= {name: float(value) for name, value in values.items()}
        if step > first_step:
            rate = (step - first_step) / (now - since)
            event |= {"steps_per_second": rate, "seconds_left": (self._total - step) / rate}
            parts.append(f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step")
            left = datetime.timedelta(seconds=round((self._total - step) / rate))
            parts.append(f"ETA {left}")
        text = "  ".join(parts)
        if self._draws:
            self._stream.write("\r\x1b[K" + text)
            self._stream.flush()
            self._open_line = True
        else:
            self._end_line()
            logger.info("%s", text, extra={"event": event})

    def note(self, text: str) -> None:
        """Logs a line of its own."""
        self._end_line()
        logger.info("%s", text)

    def _end_line(self) -> None:
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
            self._open_line = False


class StepClock:
    """Measures seconds per step since the last report, without evaluation and checkpoints; `units`
    is what a full step gets through, such as ("tokens", 4096.0), `model_flops` what it needs
    without recomputation, `peak_flops` the FLOP/s that all devices of the run can reach. Padding is
    no throughput: each step says which shares of both it has."""

    def __init__(
        self,
        units: tuple[str, float] | None = None,
        model_flops: float | None = None,
        peak_flops: float | None = None,
    ) -> None:
        self._units, self._model_flops, self._peak_flops = units, model_flops, peak_flops
        self._compiled: float | None = None
        self._start()

    def _start(self) -> None:
        self._since, self._steps = time.monotonic(), 0
        self._filled_units = self._filled_flops = 0.0
        self._spent = {"paused": 0.0, "waiting": 0.0}

    def tick(self, filled: tuple[float, float] = (1.0, 1.0)) -> None:
        """Counts a step whose metrics have arrived, with its shares of `units` and `model_flops`
        that are no padding."""
        self._steps += 1
        self._filled_units += filled[0]
        self._filled_flops += filled[1]

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Leaves the time of the block out."""
        return self._spending("paused")

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Counts the time of the block as waiting for data."""
        return self._spending("waiting")

    @contextlib.contextmanager
    def _spending(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] += time.monotonic() - started

    @contextlib.contextmanager
    def dispatching(self) -> Iterator[None]:
        """Marks a call of the step function: the first one compiles, which is kept apart."""
        if self._compiled is not None:
            yield
            return
        before = self._spent["paused"]
        with self.paused():
            yield
        self._compiled = self._spent["paused"] - before

    def report(self) -> dict[str, float]:
        """Seconds per step and what follows from them, the time of compiling apart; starts anew."""
        seconds = time.monotonic() - self._since - self._spent["paused"]
        steps = max(self._steps, 1)
        report = {
            "seconds_per_step": seconds / steps,
            "data_wait_seconds_per_step": self._spent["waiting"] / steps,
        }
        if seconds > 0:
            report["data_wait_share"] = self._spent["waiting"] / seconds
            if self._units is not None:
                name, amount = self._units
                report[f"{name}_per_second"] = amount * self._filled_units / seconds
                report["filled_share"] = self._filled_units / steps
            if self._model_flops is not None:
                flops = self._model_flops * self._filled_flops / seconds
                report["model_flops_per_second"] = flops
                if self._peak_flops is not None:
                    report["mfu"] = flops / self._peak_flops
        if self._compiled:
            report["compile_seconds"] = self._compiled
            self._compiled = 0.0
        self._start()
        return report
