"""The sustain pedal: changed with the harmony, just after the new one is struck."""

from typing import NamedTuple

from tools.lots import Lots
from tools.piano.score import Score
from tools.piano.timing import TimeMap, beats_of

DOWN, UP = 127, 0  # values of controller 64
_MOST_PITCH_CLASSES = 4  # under one pedal
_LONGEST_BEATS = 8


class Pedal(NamedTuple):
    """A movement of the pedal."""

    seconds: float
    value: int


class _Span(NamedTuple):
    start: float  # quarters
    end: float
    classes: frozenset[int]
    bass: int


def pedals(score: Score, times: TimeMap, share: float, lots: Lots) -> tuple[Pedal, ...]:
    """Up where a harmony begins and down again a little later, for `share` of the harmonies; the
    others have none."""
    found: list[Pedal] = []
    for span in harmonies(score):
        is_pedalled, late = lots.uniform(0, 1) < share, lots.uniform(0.04, 0.11)
        early = lots.uniform(-0.02, 0.03)
        start, end = times.at(span.start), times.at(span.end)
        down, up = start + late, max(end + early, start + late + 0.05)
        if is_pedalled and end - start > 0.25:
            if found and found[-1].seconds >= down - 0.02:  # the last one came up late
                found[-1] = found[-1]._replace(seconds=down - 0.02)
            found += [Pedal(down, DOWN), Pedal(up, UP)]
    return tuple(found)


def harmonies(score: Score) -> list[_Span]:
    """Beats joined as long as their notes make one chord over one bass."""
    spans: list[_Span] = []
    notes = sorted(score.notes)
    first = 0
    for beat in beats_of(score):
        end = beat.onset + beat.length
        while first < len(notes) and notes[first].onset < beat.onset - 1e-6:
            first += 1
        struck = []
        for note in notes[first:]:
            if note.onset >= end - 1e-6:
                break
            struck.append(note.pitch)
        classes = frozenset(pitch % 12 for pitch in struck)
        last = spans[-1] if spans else None
        if last is not None and last.end - last.start < _LONGEST_BEATS * beat.length:
            together = last.classes | classes
            same_bass = not struck or min(struck) >= last.bass
            if not struck or (
                same_bass and len(together) <= _MOST_PITCH_CLASSES and not _clash(together)
            ):
                spans[-1] = last._replace(end=end, classes=together)
                continue
        spans.append(_Span(beat.onset, end, classes, min(struck, default=127)))
    return spans


def _clash(classes: frozenset[int]) -> bool:
    """Whether two of them are a semitone apart."""
    return any((pitch + 1) % 12 in classes for pitch in classes)
