"""What of a score is performed, as plain numbers, and its file."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from audiolm_jax.artifacts.atomic import write_json


class Note(NamedTuple):
    """A note as written, ties joined."""

    onset: float  # quarters from the beginning
    duration: float  # quarters, more than 0
    pitch: int  # MIDI, 60: middle C, as it sounds
    part: int  # 0: the first of the score
    is_short: bool = False  # staccato


class Bar(NamedTuple):
    """A bar; one that is not whole at its beginning, an upbeat, misses its first quarters."""

    onset: float  # quarters
    beat: float  # quarters of a beat: 1.5 in 6/8
    missing: float = 0.0  # quarters


@dataclasses.dataclass(frozen=True)
class Score:
    """Notes in the order of (onset, pitch); times are quarters."""

    title: str
    composer: str
    key: str  # such as "G major", by the profile of its pitches
    notes: tuple[Note, ...]
    bars: tuple[Bar, ...]
    fermatas: tuple[float, ...] = ()  # onsets of the notes that have one
    marks: tuple[tuple[float, int], ...] = ()  # (onset, MIDI velocity) of p, mf, f ...
    qpm: float | None = None  # quarters a minute, if the score says so
    repeats: str = "none"  # "taken", "not taken" or "none" written

    @property
    def end(self) -> float:
        """Of the last note."""
        return max(note.onset + note.duration for note in self.notes)

    def transposed(self, semitones: int) -> "Score":
        """The same higher; the key keeps its name, for it names the score."""
        notes = (note._replace(pitch=note.pitch + semitones) for note in self.notes)
        return dataclasses.replace(self, notes=tuple(notes))


def write_score(path: Path, score: Score | str) -> None:
    """A score, or why there is none."""
    write_json(path, {"skipped": score} if isinstance(score, str) else dataclasses.asdict(score))


def read_score(path: Path) -> Score | str:
    """What `write_score` wrote."""
    facts = json.loads(path.read_text())
    if "skipped" in facts:
        return str(facts["skipped"])
    facts["notes"] = tuple(Note(*note) for note in facts["notes"])
    facts["bars"] = tuple(Bar(*bar) for bar in facts["bars"])
    facts["fermatas"] = tuple(facts["fermatas"])
    facts["marks"] = tuple((onset, velocity) for onset, velocity in facts["marks"])
    return Score(**facts)
