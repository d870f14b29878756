"""Figures taken out of the records of finished tasks."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from audiolm_jax.errors import InputError

_NAMES = ("label", "system", "condition", "name", "stage", "kind", "slicing")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number as a task measured it."""

    value: float | None  # None where there were too few items
    low: float | None = None  # 95 % interval, None where the task gives none
    high: float | None = None
    items: int | None = None  # clips, prompts or pairs; None where it is not said


def find_figure(record: Mapping[str, Any], place: str, where: Path) -> Figure:
    """The figure at a place, steps with " / " between: keys of objects, and of lists the name of an
    entry, which is its label, system, condition, name, stage, kind or slicing. What has `too_few`
    items has no value. InputError says what is there instead."""
    path = place.split(" / ")
    value: Any = record
    for depth, step in enumerate(path):
        entries = dict(_entries(value))
        if step not in entries:
            here = " / ".join(path[:depth]) or "it"
            raise InputError(
                f"{where}: {here} has no {step!r}; expected {', '.join(entries) or 'nothing below'}"
            )
        value = entries[step]
    if isinstance(value, Mapping) and isinstance(value.get("mean"), int | float):
        low, high = (None if (x := value.get(end)) is None else float(x) for end in ("low", "high"))
        return Figure(float(value["mean"]), low, high, value.get("clips"))
    if isinstance(value, Mapping) and "too_few" in value:
        return Figure(None, items=value["too_few"])
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Figure(float(value))
    found = "nothing was measured" if value is None else f"{json.dumps(value)[:60]}"
    raise InputError(f"{where}: {place} is no figure: {found}")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        for entry in reversed(value):  # of equal names the first, which is over all, counts
            if isinstance(entry, Mapping):
                name = next((entry[key] for key in _NAMES if key in entry), None)
                yield str(name["label"] if isinstance(name, Mapping) else name), entry
