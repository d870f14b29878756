"""What was measured of every clip, and its means by system."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from audiolm_jax.evaluation.measures.bootstrap import Estimate, ratio_of_sums
from audiolm_jax.evaluation.measures.speaker import Similarity
from audiolm_jax.evaluation.world.judge import Errors, Said
from audiolm_jax.evaluation.world.utterances import Band, band_name


@dataclasses.dataclass(frozen=True)
class Ending:
    """One ending of one prompt."""

    system: str  # label
    clip_id: str  # of the recording that the prompt begins
    prompt: str  # name of the stretch: intervals are over these
    speaker: str
    seed: int
    heard: str  # after the prompt, as the recognizer writes it
    said: Said
    similarity: Similarity | None  # None: not measured, or silent


@dataclasses.dataclass(frozen=True)
class Reading:
    """One whole clip, or its beginning, as it is, through the codec, or revoiced."""

    system: str
    clip_id: str
    speaker: str
    seed: int
    transcript: str
    heard: str
    said: Said
    errors: Errors
    seconds: float  # of the recording, whatever the system made of it


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column: a ratio of sums."""

    name: str  # key in JSON
    heading: str
    digits: int
    higher_is_better: bool | None  # None: neither is
    bar: str = ""  # what is asked of the models, "" for nothing


ENDING_MEASURES = (
    Measure("words_a_second", "words a second", 2, None),
    Measure("known", "words of the world, %", 1, True, "at least 85"),
    Measure("legal", "legal pairs, %", 1, True, "at least 60"),
    Measure("whole", "whole sentences, %", 1, True),
    Measure("own_first", "own speaker first, %", 1, True, "at least 80"),
    Measure("own", "cosine to own speaker", 3, True),
    Measure("other", "to the nearest other", 3, None),
)
READING_MEASURES = (
    Measure("wer", "WER, %", 1, False, "at most 15"),
    Measure("cer", "CER, %", 1, False),
    Measure("spelled_wer", "as spelled, %", 1, False),
    Measure("known", "words of the world, %", 1, True),
    Measure("legal", "legal pairs, %", 1, True),
    Measure("whole", "whole sentences, %", 1, True),
    Measure("words_a_second", "words a second", 2, None),
)
_Item = TypeVar("_Item", Ending, Reading)
Ratio = tuple[int | float, int | float]
_SAID: dict[str, Callable[[Said], Ratio]] = {
    "words_a_second": lambda said: (said.words, said.seconds),
    "known": lambda said: (100 * said.known, said.words),
    "legal": lambda said: (100 * said.legal, said.pairs),
    "whole": lambda said: (100 * said.whole, said.sentences),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A system with its means by name of the measure; None where there was nothing to measure."""

    system: str
    means: dict[str, Estimate | None]


def ending_ratio(name: str, ending: Ending, measures_speakers: bool) -> Ratio:
    """What one ending adds to the sums of a measure. A silent ending has no cosines, and its own
    speaker is not first."""
    if name in _SAID:
        return _SAID[name](ending.said)
    similarity = ending.similarity
    if name == "own_first" and measures_speakers:
        return 100.0 * (similarity is not None and similarity.is_own_first), 1
    if similarity is None:
        return 0, 0
    return (similarity.own if name == "own" else similarity.best_other), 1


def reading_ratio(name: str, reading: Reading) -> Ratio:
    """What one reading adds to the sums of a measure."""
    if name in _SAID:
        return _SAID[name](reading.said)
    errors = reading.errors
    if name == "cer":
        return 100 * errors.character_errors, errors.characters
    return 100 * (errors.errors if name == "wer" else errors.spelled), errors.words


def summarize_endings(
    labels: Sequence[str], endings: Sequence[Ending], measures_speakers: bool, seed: int
) -> tuple[Row, ...]:
    """A row for each system."""
    ratio = functools.partial(ending_ratio, measures_speakers=measures_speakers)
    return _rows(labels, ENDING_MEASURES, endings, lambda ending: ending.prompt, ratio, seed)


def summarize_readings(
    labels: Sequence[str], readings: Sequence[Reading], seed: int
) -> tuple[Row, ...]:
    """A row for each system."""
    by_clip = lambda reading: reading.clip_id  # noqa: E731
    return _rows(labels, READING_MEASURES, readings, by_clip, reading_ratio, seed)


LEAST_ITEMS = 10  # recordings that a band needs for figures


@dataclasses.dataclass(frozen=True)
class BandRows:
    """Readings of recordings of like length."""

    label: str  # "4 to 10 s"
    items: int  # recordings, or beginnings of such
    rows: tuple[Row, ...]

    @property
    def is_enough(self) -> bool:
        """Whether there are recordings enough for figures."""
        return self.items >= LEAST_ITEMS

    def record(self) -> dict[str, Any]:
        """As JSON values; in place of a figure of too few recordings how many there are."""
        values = dataclasses.asdict(self)
        if not self.is_enough:
            for row in values["rows"]:
                few = {"too_few": self.items, "expected": LEAST_ITEMS}
                row["means"] = dict.fromkeys(row["means"], few)
        return values


def summarize_bands(
    labels: Sequence[str], readings: Sequence[Reading], bands: Sequence[Band], seed: int
) -> tuple[BandRows, ...]:
    """By the length of the recording, a row for each system."""
    found = []
    for low, high in bands:
        own = [reading for reading in readings if low <= reading.seconds < high]
        items = len({reading.clip_id for reading in own})
        rows = summarize_readings(labels, own, seed)
        found.append(BandRows(band_name((low, high)), items, rows))
    return tuple(found)


def _rows(
    labels: Sequence[str],
    measures: Sequence[Measure],
    items: Sequence[_Item],
    key: Callable[[_Item], str],
    ratio: Callable[[str, _Item], Ratio],
    seed: int,
) -> tuple[Row, ...]:
    rows = []
    for label in labels:
        own = [item for item in items if item.system == label]
        keys = [key(item) for item in own]
        means = {
            m.name: ratio_of_sums(keys, [ratio(m.name, item) for item in own], seed)
            for m in measures
        }
        rows.append(Row(label, means))
    return tuple(rows)
