"""Gives a tune, which is one line, a left hand: plain triads of its key in a pattern.

The chords are ours, not the collection's: of each half bar, or bar of three, the triad that the
tune's notes fit best, along a path that likes fifths and ends at home (Viterbi).
"""

import dataclasses
import math

from tools.lots import Lots
from tools.piano.score import Note, Score

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Degree -> triad, in semitones above the tonic.
_MAJOR = {0: (0, 4, 7), 2: (2, 5, 9), 5: (5, 9, 0), 7: (7, 11, 2), 9: (9, 0, 4)}
_MINOR = {0: (0, 3, 7), 3: (3, 7, 10), 5: (5, 8, 0), 7: (7, 11, 2), 8: (8, 0, 3), 10: (10, 2, 5)}
_LOW, _HIGH = 40, 51  # of the lowest note of the left hand
_GAP = 3  # semitones at least between the hands


def tonic_of(key: str) -> int:
    """Pitch class of a key such as "Bb minor"."""
    letter, signs = key[0], key.split()[0][1:]
    return (_LETTERS[letter] + signs.count("#") - signs.count("b")) % 12


def with_left_hand(score: Score, lots: Lots) -> Score:
    """The tune with an accompaniment; the tune itself is not changed."""
    spans = _spans(score)
    chords = harmonies(score, spans)
    beat = score.bars[min(1, len(score.bars) - 1)].beat
    style = lots.choice(("block", "bass and chord", "broken", "tenths"))
    added = [
        note
        for (start, length), chord in zip(spans, chords, strict=True)
        for note in _figure(style, start, length, chord, beat)
    ]
    ceiling = max(min(note.pitch for note in score.notes) - _GAP, _HIGH)
    added = [
        note if note.pitch <= ceiling else note._replace(pitch=note.pitch - 12) for note in added
    ]
    return dataclasses.replace(score, notes=tuple(sorted([*score.notes, *added])))


def _spans(score: Score) -> list[tuple[float, float]]:
    """(onset, length) of what has one chord: half of each bar of two or four beats, a whole one
    of three; an upbeat has none."""
    spans = []
    for bar, end in zip(score.bars, [*(b.onset for b in score.bars[1:]), score.end], strict=True):
        length = end - bar.onset
        if length <= 0 or bar.missing:
            continue
        beats = round(length / bar.beat)
        parts = 2 if beats in (2, 4) and length >= 2 else 1
        spans += [(bar.onset + part * length / parts, length / parts) for part in range(parts)]
    return spans


def harmonies(score: Score, spans: list[tuple[float, float]]) -> list[tuple[int, ...]]:
    """A triad, root first, for each span: pitch classes."""
    tonic, is_minor = tonic_of(score.key), score.key.endswith("minor")
    triads = _MINOR if is_minor else _MAJOR
    degrees = list(triads)
    best: list[dict[int, tuple[float, int]]] = []  # of each span: degree -> (score, degree before)
    for number, (start, length) in enumerate(spans):
        fit = {}
        for degree in degrees:
            tones = {(tonic + tone) % 12 for tone in triads[degree]}
            fit[degree] = _fit(score, start, start + length, tones) + 0.15 * (degree in (0, 5, 7))
            if number in (0, len(spans) - 1) and degree != 0:
                fit[degree] -= 2.0
        if not best:
            best.append({degree: (fit[degree], degree) for degree in degrees})
            continue
        last = best[-1]
        row = {}
        for degree in degrees:
            before = max(degrees, key=lambda d: last[d][0] + _step(d, degree))
            row[degree] = (last[before][0] + _step(before, degree) + fit[degree], before)
        best.append(row)
    if not best:
        return []
    degree = max(degrees, key=lambda d: best[-1][d][0])
    path = [degree]
    for row in reversed(best[1:]):
        degree = row[degree][1]
        path.append(degree)
    return [tuple((tonic + tone) % 12 for tone in triads[d]) for d in reversed(path)]


def _fit(score: Score, start: float, end: float, tones: set[int]) -> float:
    """Share of a span's melody inside a chord, its first note twice."""
    inside = whole = 0.0
    for note in score.notes:
        overlap = min(end, note.onset + note.duration) - max(start, note.onset)
        if overlap > 0:
            weight = overlap * (2 if math.isclose(note.onset, start, abs_tol=1e-3) else 1)
            whole += weight
            inside += weight * (note.pitch % 12 in tones)
    return inside / whole if whole else 0.0


def _step(before: int, after: int) -> float:
    """How much a change of degree is liked."""
    if before == after:
        return 0.05
    return 0.12 if (before - after) % 12 in (7, 5) else 0.0


def _figure(
    style: str, start: float, length: float, chord: tuple[int, ...], beat: float
) -> list[Note]:
    root = _LOW + (chord[0] - _LOW) % 12
    third, fifth = (root + (tone - chord[0]) % 12 for tone in chord[1:])
    if style == "block":
        return [Note(start, length, pitch, 1) for pitch in (root, third + 12, fifth)]
    pitches: tuple[list[int], ...]
    if style == "tenths":
        pulse, pitches = length / 4, ([root], [fifth], [third + 12], [fifth])
    elif style == "broken":  # of Alberti
        pulse, pitches = length / 4, ([root], [fifth], [third], [fifth])
    else:
        beats = max(2, round(length / beat)) if length / beat > 1.5 else 2
        pulse = length / beats
        pitches = ([root], *([[third + 12, fifth]] * (beats - 1)))
    return [
        Note(round(start + place * pulse, 6), round(pulse, 6), pitch, 1)
        for place, struck in enumerate(pitches)
        for pitch in struck
    ]
