"""Which scores of music21's corpus are played, under which licence, and which are never trained on.

Only music that is old enough to be free everywhere with a term of 70 years, of encodings that
reserve no right. music21 distributes the encodings with the permission of who made them; where a
file states a licence, it is said here. What is left out, and why: `LEFT_OUT`.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

_NONE_STATED = "music in the public domain; no licence stated in the encoding"


@dataclasses.dataclass(frozen=True)
class Collection:
    """A kind of music, with its share of a corpus."""

    name: str
    share: float
    licence: str
    patterns: tuple[str, ...]  # of paths below music21's corpus
    excluded: tuple[str, ...] = ()
    heldout: tuple[str, ...] = ()  # beginnings of paths; (): by the opening of the tune
    composer: str = ""  # where files name none
    is_tune: bool = False  # one line, to which `arrange` adds a left hand
    pages: tuple[tuple[str, str], ...] = ()  # (beginning of a path, its own licence)

    def paths(self, corpus: Path) -> list[str]:
        """Of its scores, below `corpus`, in order."""
        found = {
            path.relative_to(corpus).as_posix()
            for pattern in self.patterns
            for path in corpus.glob(pattern)
        }
        return sorted(path for path in found if not path.startswith(self.excluded or ("\0",)))

    def licence_of(self, path: str) -> str:
        """Of a score."""
        return next((own for start, own in self.pages if path.startswith(start)), self.licence)


COLLECTIONS = (
    Collection(
        "keyboard",
        0.15,
        _NONE_STATED,
        (
            "bach/bwv846.mxl",
            "chopin/*.krn",
            "cpebach/*.mxl",
            "joplin/*.mxl",
            "mozart/k545/*.mxl",
            "schoenberg/opus19/*.mxl",
            "schumann_clara/polonaise_*.mxl",
        ),
        heldout=("schumann_clara/polonaise_op1n3", "schoenberg/opus19/movement6"),
    ),
    Collection(
        "songs",  # voice and piano; the voice is the upper line
        0.05,
        _NONE_STATED,
        (
            "beach/*.musicxml",
            "handel/rinaldo/*.mxl",
            "johnson_j_r/*.mxl",
            "liliuokalani/*.mxl",
            "schubert/*.xml",
            "schumann_robert/opus48no2.mxl",
            "verdi/*.mxl",
        ),
        heldout=("verdi/",),
        pages=(
            ("beach/", "music in the public domain; encoding CC BY-SA"),
            ("johnson_j_r/", "music in the public domain; encoding CC0"),
            ("liliuokalani/", "music in the public domain; encoding CC0"),
        ),
    ),
    Collection(
        "chorales",
        0.30,
        _NONE_STATED,
        ("bach/*.mxl", "bach/*.xml"),
        excluded=("bach/bwv846",),
        composer="J. S. Bach",
    ),
    Collection(
        "quartets",
        0.20,
        _NONE_STATED,
        (
            "beethoven/**/*.mxl",
            "corelli/**/*.xml",
            "haydn/**/*.mxl",
            "mozart/k80/*.mxl",
            "mozart/k155/*.mxl",
            "mozart/k156/*.mxl",
            "mozart/k458/*.mxl",
            "schumann_clara/opus17/*.xml",
            "schumann_robert/opus41no1/*.mxl",
        ),
        heldout=("beethoven/opus18no4", "mozart/k156"),
        pages=(("corelli/", "music in the public domain; encoding CC BY"),),
    ),
    Collection(
        "tunes",
        0.30,
        "traditional, printed in 1883 and earlier; no licence stated in the encoding",
        ("ryansMammoth/*.abc",),
        composer="traditional",
        is_tune=True,
    ),
)

LEFT_OUT = {
    "bach/*.krn": "rights reserved by the encoder (CCARH); the same chorales are there as .mxl",
    "beethoven/**/*.krn": "the same movements are there as .mxl",
    "palestrina": "rights reserved by the encoder; vocal",
    "monteverdi, lusitano, josquin, luca": "vocal polyphony; rights reserved or none stated",
    "trecento, ciconia": "vocal polyphony; rights of single editors",
    "essenFolksong": "not free for every use; melodies alone",
    "oneills1850, airdsAirs, nottingham-dataset, miscFolk": "more tunes than are needed",
    "schumann_robert/dichterliebe_no2.xml": "the same song is there as opus48no2",
    "webern, weber, leadSheet, demos, theoryExercises": "no piano music, or rights reserved",
}

_HELDOUT_ONE_IN = 12
_OPENING = 8  # intervals


def is_heldout(collection: Collection, path: str, melody: list[int]) -> bool:
    """Whether training never hears a score: works by name; chorales and tunes by the first
    intervals of their melody, so that settings of one tune, in whatever key, stay together."""
    if collection.heldout:
        return path.startswith(collection.heldout)
    return (
        int.from_bytes(hashlib.sha256(opening(melody).encode()).digest()[:8]) % (_HELDOUT_ONE_IN)
        == 0
    )


def opening(melody: list[int]) -> str:
    """The first intervals between different notes of a melody, MIDI pitches."""
    steps = (after - before for before, after in itertools.pairwise(melody))
    return " ".join(str(step) for _, step in zip(range(_OPENING), _moving(steps), strict=False))


def _moving(steps: Iterator[int]) -> Iterator[int]:
    return (step for step in steps if step)
