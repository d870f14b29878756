"""Held-out metrics of a run beside those that a finished run of the same config had."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError
from audiolm_jax.training.metrics import HELDOUT

SHARE = 0.1  # of the reference's value, allowed on either side
GUIDE = "docs/guide/is_my_training_right.md"


class Reference:
    """Curves of another run's held-out metrics, by step."""

    def __init__(self, place: Place | None):
        """Reads a metrics.jsonl, of which lines of training are not needed; None compares nothing.
        InputError if it holds no held-out metrics."""
        self._place = place
        self._curves: dict[str, dict[int, float]] = defaultdict(dict)
        if place is None:
            return
        where = f"--loop.reference {place}"
        if not at(place).is_file():
            raise InputError(f"{where}: not found; name a metrics.jsonl, or None")
        for number, line in enumerate(at(place).read_text().splitlines(), 1):
            try:
                values = json.loads(line)
                step = int(values["step"])
                held = {
                    n: float(x)
                    for n, x in values.items()
                    if n.startswith(HELDOUT) and x is not None
                }
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                what = f"line {number} is none of a metrics.jsonl"
                raise InputError(f"{where}: {what} ({error}); copy the file again") from error
            for name, value in held.items():
                self._curves[name.removeprefix(HELDOUT)][step] = value
        if not self._curves:
            raise InputError(f"{where}: holds no {HELDOUT} metrics; name a metrics.jsonl, or None")

    def outside(self, step: int, means: Mapping[str, float]) -> list[str]:
        """A line for each metric that is not where the reference was at that step.

        Between two evaluations of the reference lies a straight line. A tenth of its value is
        allowed on either side, and as much as it changes between the two; beyond its last
        evaluation nothing is compared.
        """
        lines = []
        for name, value in means.items():
            if (expected := self._at(name, step)) is None:
                continue
            low, high = expected
            if not low <= value <= high:
                lines.append(
                    f"step {step}: {HELDOUT}{name} {value:.4g} is outside the reference, "
                    f"{low:.4g} to {high:.4g} ({self._place}); usual reasons: {GUIDE}"
                )
        return lines

    def _at(self, name: str, step: int) -> tuple[float, float] | None:
        curve = self._curves.get(name, {})
        before = max((s for s in curve if s <= step), default=None)
        after = min((s for s in curve if s >= step), default=None)
        if before is None or after is None:
            return None
        start, end = curve[before], curve[after]
        share = 0.0 if after == before else (step - before) / (after - before)
        value = start + share * (end - start)
        steps = sorted(curve)
        if after == before:  # then the change to its neighbors counts
            place = steps.index(before)
            near = [curve[s] for s in steps[max(place - 1, 0) : place + 2]]
            change = max(abs(x - value) for x in near)
        else:
            change = abs(end - start)
        margin = max(SHARE * abs(value), change)
        return (value - margin, value + margin) if math.isfinite(value) else None
