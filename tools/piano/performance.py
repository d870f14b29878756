"""Plays a score with expression: a performance is a function of the score, a style and a seed.

The rules are the plain ones of the literature on performance, in their simplest form: phrase arcs
of tempo and loudness (Todd 1992), the final ritardando as a runner stops (Friberg and Sundberg
1999), high notes louder (Friberg 1991), the melody louder and some 20 ms early (Goebl 2001). They
make no pianist: what is played is even, correct and without an idea of the piece.
"""

import bisect
import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

from tools.lots import Lots
from tools.piano.hands import melody
from tools.piano.pedal import Pedal, pedals
from tools.piano.score import Score
from tools.piano.timing import TimeMap, beats_of, normal, phrases_of

_LEAST_SECONDS = 0.03  # of a key
_REPEAT_GAP_SECONDS = 0.035  # a key is up before it is struck again
_BEGIN_SECONDS = 0.25  # before the first note


class Played(NamedTuple):
    """A key that goes down and up."""

    onset: float  # seconds
    end: float
    pitch: int
    velocity: int  # 1 to 127
    source: int  # number of the note in the score


@dataclasses.dataclass(frozen=True)
class Performance:
    """Keys in the order of their onsets, and the pedal."""

    keys: tuple[Played, ...]
    pedals: tuple[Pedal, ...]


@dataclasses.dataclass(frozen=True)
class Style:
    """What performances of a collection are drawn from: (lowest, highest) of uniform draws."""

    qpm: tuple[float, float]  # if the score says nothing; else what is said is kept within them
    arc: tuple[float, float]  # how much slower a phrase is at its ends than in its middle, 0 to 1
    final: tuple[float, float]  # tempo at the very end over that before the ritardando
    swell: tuple[float, float]  # velocities from the ends of a phrase to its middle
    voicing: tuple[float, float]  # velocities that the melody is above the inner voices
    legato: tuple[float, float]  # of its written length that a note lasts
    spread: tuple[float, float]  # seconds, standard deviation of notes struck together
    pedal: tuple[float, float]  # share of harmonies that are pedalled
    roll: float = 0.0  # share of wide chords that are rolled


STYLES = {
    "keyboard": Style(
        (84, 138),
        (0.06, 0.2),
        (0.4, 0.65),
        (5, 16),
        (8, 18),
        (0.85, 1.03),
        (0.004, 0.010),
        (0.7, 1),
        0.15,
    ),
    "songs": Style(
        (66, 104),
        (0.08, 0.2),
        (0.35, 0.6),
        (6, 16),
        (10, 20),
        (0.95, 1.04),
        (0.004, 0.010),
        (0.8, 1),
        0.2,
    ),
    "chorales": Style(
        (58, 92),
        (0.04, 0.14),
        (0.45, 0.7),
        (3, 12),
        (5, 14),
        (0.95, 1.03),
        (0.003, 0.009),
        (0.5, 1),
        0.05,
    ),
    "quartets": Style(
        (80, 132),
        (0.05, 0.16),
        (0.45, 0.7),
        (5, 16),
        (7, 16),
        (0.8, 1.0),
        (0.003, 0.009),
        (0.4, 0.9),
        0.05,
    ),
    "tunes": Style(
        (84, 140),
        (0.02, 0.10),
        (0.5, 0.75),
        (3, 12),
        (10, 20),
        (0.7, 1.0),
        (0.003, 0.009),
        (0.3, 0.9),
        0.02,
    ),
}


def perform(score: Score, style: Style, key: tuple[int | str, ...]) -> Performance:
    """How the notes of a score, which two hands can reach, are played."""
    lots = Lots("performance", *key)
    times = _times(score, style, lots)
    velocities = _velocities(score, style, lots)
    onsets = _onsets(score, style, times, lots)
    share = lots.uniform(*style.legato)
    played: list[Played] = []
    for number, note in enumerate(score.notes):
        sounding = times.at(note.onset + note.duration) - times.at(note.onset)
        length = sounding * (0.45 if note.is_short else share) * math.exp(normal(lots, 0.06))
        end = onsets[number] + max(_LEAST_SECONDS, length)
        played.append(Played(onsets[number], end, note.pitch, velocities[number], number))
    keys = tuple(sorted(_free(played), key=lambda k: (k.onset, k.pitch)))
    return Performance(keys, pedals(score, times, lots.uniform(*style.pedal), lots))


def _times(score: Score, style: Style, lots: Lots) -> TimeMap:
    """The tempo curve: quarters to seconds."""
    low, high = style.qpm
    drawn = lots.uniform(low, high)
    base = drawn if score.qpm is None else min(max(score.qpm, low), high)
    base *= math.exp(normal(lots, 0.06))
    arc, final = lots.uniform(*style.arc), lots.uniform(*style.final)
    phrases = phrases_of(score)
    beats = beats_of(score)
    ritardando = max(score.end - lots.uniform(3, 6) * beats[-1].length, phrases[-1].start)
    drift, steps = 0.0, []
    for beat in beats:
        drift = 0.8 * drift + normal(lots, 0.012)
        phrase = next(p for p in reversed(phrases) if p.start <= beat.onset + 1e-6)
        inside = min(1.0, max(0.0, (beat.onset + beat.length / 2 - phrase.start) / phrase.length))
        tempo = base * math.exp(drift) * (1 - arc * (2 * inside - 1) ** 2)
        if beat.onset + beat.length / 2 > ritardando and score.end > ritardando:
            # Friberg and Sundberg 1999: v(x) = (1 + (w^q - 1) x)^(1/q), q = 3.
            x = min(1.0, (beat.onset + beat.length / 2 - ritardando) / (score.end - ritardando))
            tempo *= (1 + (final**3 - 1) * x) ** (1 / 3)
        steps.append((beat.onset, 60 / tempo))
    holds = {onset: lots.uniform(0.4, 1.0) for onset in score.fermatas}
    return TimeMap(steps, holds, _BEGIN_SECONDS)


def _velocities(score: Score, style: Style, lots: Lots) -> list[int]:
    """Of each note, in order."""
    base = lots.uniform(50, 72)
    swell, voicing = lots.uniform(*style.swell), lots.uniform(*style.voicing)
    phrases, beats = phrases_of(score), beats_of(score)
    strong = {round(beat.onset, 3): beat.is_first for beat in beats}
    line = set(melody(score.notes))
    center = sum(note.pitch for note in line) / len(line)
    lowest: dict[float, int] = {}
    for note in score.notes:
        lowest[note.onset] = min(note.pitch, lowest.get(note.onset, 127))
    marks = list(score.marks)
    velocities = []
    for note in score.notes:
        mark = bisect.bisect_right(marks, (note.onset + 1e-6, 127))
        level = base if not mark else 0.4 * base + 0.6 * marks[mark - 1][1]
        phrase = next(p for p in reversed(phrases) if p.start <= note.onset + 1e-6)
        inside = min(1.0, (note.onset - phrase.start) / phrase.length)
        level += swell * (math.sin(math.pi * inside) - 0.5)
        level += {None: -2.0, False: 1.0, True: 4.0}[strong.get(round(note.onset, 3))]
        if note in line:
            level += voicing * 0.6 + 0.35 * (note.pitch - center)
        else:
            level -= voicing * (0.15 if note.pitch == lowest[note.onset] else 0.4)
        velocities.append(min(118, max(14, round(level + normal(lots, 2.5)))))
    return velocities


def _onsets(score: Score, style: Style, times: TimeMap, lots: Lots) -> list[float]:
    """Seconds of each note: the melody a little early, chords not quite together."""
    spread, lead = lots.uniform(*style.spread), lots.uniform(0.0, 0.022)
    line = set(melody(score.notes))
    chords: dict[float, list[int]] = {}
    for number, note in enumerate(score.notes):
        chords.setdefault(note.onset, []).append(number)
    onsets = [0.0] * len(score.notes)
    for onset, numbers in chords.items():
        together = times.at(onset) + normal(lots, 0.004)
        pitches = [score.notes[number].pitch for number in numbers]
        is_wide = len(pitches) > 2 and max(pitches) - min(pitches) > 12
        roll = lots.uniform(0.015, 0.05) if lots.uniform(0, 1) < style.roll and is_wide else 0.0
        for place, number in enumerate(numbers):  # from low to high
            early = lead if score.notes[number] in line and len(numbers) > 1 and not roll else 0.0
            at = together + (place - len(numbers) + 1) * roll - early
            onsets[number] = max(0.0, at + normal(lots, spread))
    return onsets


def _free(played: Sequence[Played]) -> list[Played]:
    """A key is up before it is struck again."""
    freed: list[Played] = []
    last: dict[int, int] = {}
    for key in sorted(played, key=lambda k: (k.onset, k.pitch)):
        if key.pitch in last:
            before = freed[last[key.pitch]]
            end = min(before.end, key.onset - _REPEAT_GAP_SECONDS)
            end = max(end, before.onset + min(_LEAST_SECONDS, (key.onset - before.onset) / 2))
            freed[last[key.pitch]] = before._replace(end=end)
        last[key.pitch] = len(freed)
        freed.append(key)
    return freed
