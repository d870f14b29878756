"""Beats, phrases, and the map from quarters to seconds."""

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tools.lots import Lots
from tools.piano.score import Score

_BARS_OF_PHRASE = 4
_BREATH = 0.12  # seconds after a fermata


class Beat(NamedTuple):
    """In quarters."""

    onset: float
    length: float
    is_first: bool  # of its bar


class Phrase(NamedTuple):
    """In quarters; `length` is more than 0."""

    start: float
    length: float


def normal(lots: Lots, deviation: float) -> float:
    """A draw near the normal distribution about 0, within six deviations: twelve uniform ones."""
    return deviation * (sum(lots.uniform(0, 1) for _ in range(12)) - 6)


def beats_of(score: Score) -> list[Beat]:
    """All beats from the first bar, or the first note, to the end."""
    beats: list[Beat] = []
    ends = [*(bar.onset for bar in score.bars[1:]), max(score.end, score.bars[-1].onset + 0.5)]
    for bar, end in zip(score.bars, ends, strict=True):
        length = end - bar.onset
        count = max(1, round((length + bar.missing) / bar.beat))
        first = bar.onset - bar.missing
        for number in range(count):
            onset, until = first + number * bar.beat, first + (number + 1) * bar.beat
            until = end if number == count - 1 else min(until, end)
            onset = max(onset, bar.onset)
            if until > onset + 1e-6:
                beats.append(Beat(onset, until - onset, number == 0))
    return beats


def phrases_of(score: Score) -> list[Phrase]:
    """Up to each fermata where these divide the score, else of four bars; an upbeat belongs to the
    first one."""
    end = score.end
    ends: list[float] = []
    if len(score.fermatas) >= 2:
        for fermata in score.fermatas:
            held = [n.onset + n.duration for n in score.notes if abs(n.onset - fermata) < 1e-3]
            ends.append(max(held, default=fermata))
    else:
        whole = [bar.onset for bar in score.bars if not bar.missing]
        ends = whole[_BARS_OF_PHRASE::_BARS_OF_PHRASE]
    ends = sorted({round(x, 6) for x in ends if 1e-6 < x < end - 1e-6})
    starts = [0.0, *ends]
    return [Phrase(a, max(b - a, 1e-3)) for a, b in zip(starts, [*ends, end], strict=True)]


class TimeMap:
    """Seconds of a place in quarters; grows strictly."""

    def __init__(
        self, steps: Sequence[tuple[float, float]], holds: Mapping[float, float], begin: float
    ) -> None:
        """`steps`: (quarters, seconds a quarter from there on). `holds`: a note at the key is held
        so much of a quarter longer, and a breath follows. `begin`: seconds of quarter 0."""
        self._holds: list[tuple[float, float]] = []
        self._places, self._seconds = [0.0], [begin]
        self._rates = [steps[0][1]]
        for place, rate in steps:
            if place > self._places[-1]:
                self._append(place, self.at(place), rate)
            else:
                self._rates[-1] = rate
        self._holds = sorted(
            (place, share * self._rate_at(place) + _BREATH) for place, share in holds.items()
        )

    def _append(self, place: float, seconds: float, rate: float) -> None:
        self._places.append(place)
        self._seconds.append(seconds)
        self._rates.append(rate)

    def _rate_at(self, place: float) -> float:
        return self._rates[max(0, bisect.bisect_right(self._places, place) - 1)]

    def at(self, place: float) -> float:
        """Seconds; what is after the onset of a hold is later by it."""
        index = max(0, bisect.bisect_right(self._places, place) - 1)
        seconds = self._seconds[index] + (place - self._places[index]) * self._rates[index]
        return seconds + math.fsum(hold for at, hold in self._holds if at < place - 1e-6)
