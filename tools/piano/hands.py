"""Reduces a score to what two hands can strike: at most four keys each, within a tenth."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from tools.piano.score import Note, Score

REACH = 16  # semitones between the outer keys of a hand
KEYS = 4  # of a hand at once
_SAME_TIME = 1e-3  # quarters


class Reduced(NamedTuple):
    """What is played, and how much of the score is not."""

    score: Score
    left_out: int  # notes; what two parts play in unison counts as one and is not left out


def two_hands(score: Score) -> Reduced:
    """The outer voices always stay; of the inner ones at each onset those that a hand reaches,
    the louder-sounding outer ones first. A key that sounds already is not struck by another part
    before it is up: the longer note stays."""
    kept: list[Note] = []
    left_out = 0
    for _, together in itertools.groupby(
        sorted(score.notes), lambda n: round(n.onset / _SAME_TIME)
    ):
        chord = _unisons_joined(list(together))
        played = _playable(chord)
        left_out += len(chord) - len(played)
        kept += played
    return Reduced(dataclasses.replace(score, notes=tuple(_keys_free(kept))), left_out)


def _unisons_joined(chord: list[Note]) -> list[Note]:
    by_pitch: dict[int, Note] = {}
    for note in chord:
        other = by_pitch.get(note.pitch)
        if other is None or note.duration > other.duration:
            by_pitch[note.pitch] = note
    return sorted(by_pitch.values(), key=lambda note: note.pitch)


def _playable(chord: list[Note]) -> list[Note]:
    """Of a chord in the order of its pitches."""
    if len(chord) <= 2:
        return chord
    bottom, top = chord[0].pitch, chord[-1].pitch
    left, right = [chord[0]], [chord[-1]]
    for note in reversed(chord[1:-1]):  # under the melody first
        by_right = top - note.pitch <= REACH and len(right) < KEYS
        by_left = note.pitch - bottom <= REACH and len(left) < KEYS
        if by_right and (not by_left or top - note.pitch <= note.pitch - bottom):
            right.append(note)
        elif by_left:
            left.append(note)
    return sorted([*left, *right], key=lambda note: note.pitch)


def _keys_free(notes: Sequence[Note]) -> list[Note]:
    """Of each key one note at a time: a note ends where the next on that key begins."""
    kept: list[Note] = []
    for _, of_key in itertools.groupby(
        sorted(notes, key=lambda n: (n.pitch, n.onset)), lambda n: n.pitch
    ):
        line = list(of_key)
        for note, after in itertools.pairwise(line):
            kept.append(note._replace(duration=min(note.duration, after.onset - note.onset)))
        kept.append(line[-1])
    return sorted(kept)


def melody(notes: Sequence[Note]) -> list[Note]:
    """The upper line: of each onset the highest note, unless a higher one still sounds."""
    line: list[Note] = []
    sounding: Note | None = None
    for _, together in itertools.groupby(sorted(notes), lambda n: round(n.onset / _SAME_TIME)):
        top = max(together, key=lambda note: note.pitch)
        is_under = (
            sounding is not None
            and sounding.pitch > top.pitch
            and sounding.onset + sounding.duration > top.onset + _SAME_TIME
        )
        if not is_under:
            line.append(top)
            sounding = top
    return line
