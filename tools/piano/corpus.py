"""What the corpus consists of: which score is played how often, in which part; and its files."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path
from tools.lots import Lots
from tools.piano.arrange import with_left_hand
from tools.piano.collections import COLLECTIONS, Collection, is_heldout
from tools.piano.extract import extract
from tools.piano.hands import Reduced, melody, two_hands
from tools.piano.midi import write_midi
from tools.piano.performance import STYLES, Performance, perform
from tools.piano.score import Score, read_score, write_score
from tools.piano.sound import PIANOS, Piano, Room, draw_room, play

_LOWEST, _HIGHEST = 21, 108  # keys
_BY_NAME = {collection.name: collection for collection in COLLECTIONS}


class Take(NamedTuple):
    """One performance of a score: one file."""

    collection: str
    score: str  # path below music21's corpus
    number: int  # 0: as written; later ones are transposed, and of training alone

    @property
    def stem(self) -> str:
        """Name of its files."""
        path = PurePosixPath(self.score)
        return f"{'_'.join(path.with_suffix('').parts)}.{self.number}"


class Row(NamedTuple):
    """A line of metadata.tsv."""

    path: str
    speaker: str  # the piano: who is heard
    piece: str
    title: str
    composer: str
    collection: str
    licence: str
    key: str  # of the score
    transposition: int  # semitones
    performance: str  # seed, score and number, of which all draws are a function
    soundfont: str
    room: str
    notes: int
    left_out: int  # notes that two hands do not reach
    repeats: str
    seconds: str
    split: str


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All of a take but its sound."""

    take: Take
    part: str  # "train" or "heldout"
    reduced: Reduced
    semitones: int
    performance: Performance
    piano: Piano
    room: Room
    seed: int  # of the corpus

    @property
    def path(self) -> str:
        """Of its sound, below the folder of the corpus."""
        return f"{self.part}/{self.take.collection}/{self.take.stem}.flac"

    @property
    def seconds(self) -> float:
        """To the end of the last key; the file is a little longer."""
        return max(key.end for key in self.performance.keys)

    def row(self, directory: Path) -> Row:
        """Of its file, which is there."""
        import soundfile

        score, collection = self.reduced.score, _BY_NAME[self.take.collection]
        return Row(
            path=self.path,
            speaker=self.piano.name,
            piece=str(PurePosixPath(self.take.score).with_suffix("")),
            title=score.title,
            composer=score.composer,
            collection=collection.name,
            licence=collection.licence_of(self.take.score),
            key=score.key,
            transposition=self.semitones,
            performance=f"{self.seed}/{self.take.score}/{self.take.number}",
            soundfont=self.piano.file,
            room=str(self.room),
            notes=len(self.performance.keys),
            left_out=self.reduced.left_out,
            repeats=score.repeats,
            seconds=f"{soundfile.info(directory / self.path).duration:.3f}",
            split=self.part,
        )


def takes_of(collection: Collection, corpus: Path, seed: int) -> Iterator[Take]:
    """Without end: all scores once in an order of the seed, then all again transposed ..."""
    paths = collection.paths(corpus)
    order = sorted(paths, key=lambda path: Lots("order", seed, path).bits())
    number = 0
    while order:
        yield from (Take(collection.name, path, number) for path in order)
        number += 1


def read_or_extract(collection: Collection, path: str, corpus: Path, cache: Path) -> Score | str:
    """The score of a file of the corpus, kept in `cache` after it was read once."""
    name = "_".join(PurePosixPath(path).parts)
    kept = cache / f"{name}.json"
    if kept.exists():
        return read_score(kept)
    title = " ".join(PurePosixPath(path).with_suffix("").parts)
    score = extract(corpus / path, title, collection.composer)
    write_score(kept, score)
    return score


def prepare(take: Take, corpus: Path, cache: Path, seed: int) -> Prepared | str | None:
    """A take but for its sound; why its score is not played; None if this take must not be: a
    held-out score is played as written alone."""
    collection = _BY_NAME[take.collection]
    score = read_or_extract(collection, take.score, corpus, cache)
    if isinstance(score, str):
        return score
    return prepared(take, score, seed)


def prepared(take: Take, score: Score, seed: int) -> Prepared | None:
    """The same of a score that was read."""
    collection = _BY_NAME[take.collection]
    top = [note.pitch for note in melody(score.notes)]
    part = "heldout" if is_heldout(collection, take.score, top) else "train"
    if part == "heldout" and take.number:
        return None
    key = (seed, take.score, take.number)
    if collection.is_tune:
        score = with_left_hand(score, Lots("left hand", *key))
    reduced = two_hands(score)
    semitones = _transposition(reduced.score, take, Lots("transposition", *key))
    reduced = reduced._replace(score=reduced.score.transposed(semitones))
    performance = perform(reduced.score, STYLES[collection.name], key)
    lots = Lots("sound", *key)
    piano, room = lots.choice(PIANOS), draw_room(lots)
    return Prepared(take, part, reduced, semitones, performance, piano, room, seed)


def _transposition(score: Score, take: Take, lots: Lots) -> int:
    if take.number == 0:
        return 0
    pitches = [note.pitch for note in score.notes]
    down, up = max(-5, _LOWEST - min(pitches)), min(6, _HIGHEST - max(pitches))
    return lots.choice([step for step in range(down, up + 1) if step] or [0])


def write_take(
    directory: Path, prepared: Prepared, soundfonts: Path, fluidsynth: str, rate_hz: int
) -> None:
    """The recording and, beside it, the performance as MIDI; each appears whole or not at all, the
    recording at last."""
    path = directory / prepared.path
    if path.exists():
        return
    seed = Lots("reverberation", prepared.seed, *prepared.take).bits()
    soundfont = soundfonts / prepared.piano.file
    samples = play(prepared.performance, soundfont, fluidsynth, prepared.room, seed, rate_hz)
    with atomic_path(path.with_suffix(".mid")) as scratch:
        write_midi(scratch, prepared.performance)
    with atomic_path(path) as scratch:
        write_flac(scratch, samples, rate_hz)


def write_flac(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    """16-bit mono."""
    import soundfile

    soundfile.write(path, np.rint(samples * 32767).astype(np.int16), rate_hz, subtype="PCM_16")
