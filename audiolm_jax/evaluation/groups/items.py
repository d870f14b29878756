"""What other evaluations recorded of each recording, read from their reports."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dacite

from audiolm_jax.classifiers.config import GENERATED, REAL
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.quality import METRICS
from audiolm_jax.evaluation.world.results import (
    ENDING_MEASURES,
    READING_MEASURES,
    Ending,
    Measure,
    Ratio,
    Reading,
    ending_ratio,
    reading_ratio,
)

REPORTS = ("report.json", "detector.json")
_TEXT = {"wer": "word", "cer": "character"}  # by measure, what `TextErrors` counts
Part = tuple[str, int | float, int | float]  # id of a clip, numerator and denominator


@dataclasses.dataclass(frozen=True)
class Measured:
    """One measure of one system, clip by clip; a clip may occur several times."""

    system: str
    heading: str
    digits: int
    higher_is_better: bool
    parts: tuple[Part, ...]


def report_of(folder: Path) -> Path:
    """The report of an evaluation's directory; InputError if there is none."""
    for name in REPORTS:
        if (path := folder / name).is_file():
            return path
    raise InputError(f"{folder}: expected {' or '.join(REPORTS)} of an evaluation; run it first")


def read_measured(folder: Path) -> list[Measured]:
    """Of an evaluation's directory; InputError for one that holds no report of clips."""
    path = report_of(folder)
    measured = None
    try:
        record = json.loads(path.read_text())
        for key, read in _READERS.items():
            if key in record and measured is None:
                measured = [found for found in read(record) if found.parts]
    except (ValueError, KeyError, TypeError, dacite.DaciteError) as error:
        what = "of an older version or damaged"
        raise InputError(f"{path}: {what} ({error!r}); delete it and evaluate again") from error
    if measured is None:
        raise InputError(
            f"{path}: says nothing of single clips; expected the report of an evaluation of "
            "codecs, of a world of words, or of a detector"
        )
    if not measured:
        raise InputError(f"{path}: measured nothing of any clip; there are no groups to compare")
    return measured


def _of_codecs(record: dict[str, Any]) -> Iterator[Measured]:
    results: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for clip in record["clips"]:
        for result in clip["results"]:
            results.setdefault(result["condition"], []).append((clip["clip_id"], result))
    for condition, of_clips in results.items():
        for metric in METRICS:
            parts: list[Part] = []
            for clip_id, result in of_clips:
                if what := _TEXT.get(metric.name):
                    if errors := result["errors"]:
                        wrong, of = errors[f"{what}_errors"], errors[f"{what}s"]
                        parts.append((clip_id, 100 * wrong, of))
                elif (score := result["scores"].get(metric.name)) is not None:
                    parts.append((clip_id, score, 1))
            better = metric.higher_is_better
            yield Measured(condition, metric.heading, metric.digits, better, tuple(parts))


def _of_world(record: dict[str, Any]) -> Iterator[Measured]:
    compares_voices = record["of"]["config"]["similarity"]
    endings = [dacite.from_dict(Ending, item) for item in record["every_ending"]]
    of_endings = functools.partial(ending_ratio, measures_speakers=compares_voices)
    yield from _by_system(endings, ENDING_MEASURES, of_endings, "{}")
    readings = [dacite.from_dict(Reading, item) for item in record["every_reading"]]
    yield from _by_system(readings, READING_MEASURES, reading_ratio, "{}, whole recordings")


def _by_system(
    items: Sequence[Any],
    measures: Sequence[Measure],
    ratio: Callable[[str, Any], Ratio],
    label: str,
) -> Iterator[Measured]:
    for system in dict.fromkeys(item.system for item in items):
        own = [item for item in items if item.system == system]
        for measure in measures:
            if measure.higher_is_better is not None:
                parts = tuple((item.clip_id, *ratio(measure.name, item)) for item in own)
                sizes = measure.heading, measure.digits, measure.higher_is_better
                yield Measured(label.format(system), *sizes, tuple(p for p in parts if p[2]))


def _of_detector(record: dict[str, Any]) -> Iterator[Measured]:
    for kind, heading in ((REAL, "real called real, %"), (GENERATED, "generated found, %")):
        parts = [
            (clip_id, 100.0 * ((odds > 0) == (kind == GENERATED)), 1.0)
            for clip_id, odds in record["log_odds"].items()
            if record["kinds"][clip_id] == kind
        ]
        yield Measured("detector, at even odds", heading, 1, True, tuple(parts))


_READERS = {"clips": _of_codecs, "every_ending": _of_world, "log_odds": _of_detector}
