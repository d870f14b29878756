"""Measures of clips, split by columns of their metadata and compared."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.groups.items import Measured
from audiolm_jax.evaluation.measures.bootstrap import Estimate
from audiolm_jax.evaluation.measures.groups import (
    SIGNIFICANCE,
    Comparison,
    Values,
    compare,
    holm,
)

Unit = Literal["clip", "speaker"]
Verdict = Literal["better", "worse", "no difference shown", "too few to judge"]


@dataclasses.dataclass(frozen=True)
class Recordings:
    """Who speaks in each clip and what the columns say; "" where they say nothing."""

    places: Mapping[str, int]  # by clip id
    speakers: Sequence[str]
    columns: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One measure of one system over one group, beside all other clips."""

    report: str  # label
    system: str
    measure: str  # heading
    digits: int
    column: str
    group: str  # the entry
    clips: int
    speakers: int  # known ones
    inside: Estimate | None
    outside: Estimate | None
    difference: tuple[float, float, float] | None  # inside minus outside, 95 % interval
    chance: float | None  # corrected
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class _Plan:
    row: Row
    values: Values
    is_inside: np.ndarray
    higher_is_better: bool


def split(
    recordings: Recordings,
    measured: Mapping[str, Sequence[Measured]],
    columns: Sequence[str],
    unit: Unit,
    least: int,
    seed: int,
) -> tuple[Row, ...]:
    """Every measure of every report, by label, over each group of each column. InputError for a
    clip that is not among the recordings, and for a column that makes no two groups."""
    plans = []
    for label, of_report in measured.items():
        for one in of_report:
            for column in columns:
                plans += _plans(recordings, label, one, column, unit)
    for column in columns:
        groups = {plan.row.group for plan in plans if plan.row.column == column}
        if len(groups) < 2:
            found = f"the recordings that the reports judge have only {min(groups, default='')!r}"
            raise InputError(f"--columns {column}: {found}; nothing to compare")
    compared = [
        compare(plan.values, plan.is_inside, least, len(plans), seed + place)
        for place, plan in enumerate(plans)
    ]
    tested = [place for place, found in enumerate(compared) if found.chance is not None]
    chances = holm([compared[place].chance or 0.0 for place in tested])
    corrected = dict(zip(tested, chances, strict=True))
    return tuple(
        _judged(plan, found, corrected.get(place))
        for place, (plan, found) in enumerate(zip(plans, compared, strict=True))
    )


def _plans(
    recordings: Recordings, label: str, measured: Measured, column: str, unit: Unit
) -> list[_Plan]:
    sums: dict[tuple[str, str], np.ndarray] = {}  # by group and unit
    clips: dict[str, set[str]] = {}
    speakers: dict[str, set[str]] = {}
    for clip_id, numerator, denominator in measured.parts:
        if (place := recordings.places.get(clip_id)) is None:
            raise InputError(
                f"--reports {label}: judges {clip_id}, which is not in the recordings of --data; "
                "name the folder that it was measured on"
            )
        group, speaker = recordings.columns[column][place], recordings.speakers[place]
        if not group:
            continue
        if unit == "speaker" and not speaker:
            raise InputError(f"--unit speaker: nothing says who speaks in {clip_id}")
        key = (group, clip_id if unit == "clip" else speaker)
        sums[key] = sums.get(key, np.zeros(2)) + np.array([numerator, denominator])
        clips.setdefault(group, set()).add(clip_id)
        speakers.setdefault(group, set()).update({speaker} - {""})
    numerators, denominators = np.array([*sums.values()], np.float64).reshape(-1, 2).T
    values = Values(numerators, denominators)
    groups = np.array([group for group, _ in sums], object)
    return [
        _Plan(
            Row(
                report=label,
                system=measured.system,
                measure=measured.heading,
                digits=measured.digits,
                column=column,
                group=group,
                clips=len(clips[group]),
                speakers=len(speakers[group]),
                inside=None,
                outside=None,
                difference=None,
                chance=None,
                verdict="too few to judge",
            ),
            values,
            groups == group,
            measured.higher_is_better,
        )
        for group in sorted(clips)
    ]


def _judged(plan: _Plan, found: Comparison, chance: float | None) -> Row:
    verdict: Verdict = "too few to judge"
    if chance is not None and found.difference is not None:
        verdict = "no difference shown"
        if chance < SIGNIFICANCE:
            is_better = (found.difference[0] > 0) == plan.higher_is_better
            verdict = "better" if is_better else "worse"
    return dataclasses.replace(
        plan.row,
        inside=found.inside,
        outside=found.outside,
        difference=found.difference,
        chance=chance,
        verdict=verdict,
    )
