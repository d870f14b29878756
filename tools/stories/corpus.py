"""What the corpus consists of: who tells which story, in which part; and the file of a telling."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path
from tools.lots import Lots
from tools.stories.engines import RATE_HZ
from tools.stories.grammar import story
from tools.stories.speakers import FAST_SPEAKERS, SLOW_SPEAKERS, Speaker

Say = Callable[[str, Speaker, int], np.ndarray]

# One story in twenty is never trained on, by its number.
_HELD_OUT_EVERY, _HELD_OUT_REMAINDER = 20, 4
# A held-out speaker speaks this share of what another one does.
_HELD_OUT_SHARE = 0.45
# Stories of a speaker, and of a corpus: the number of a story is unique to seed, block and place.
_BLOCK, CORPUS = 50_000, 10_000_000
# Mean length of a story at tempo 1, measured; what is asked for in hours is planned in stories.
_STORY_SECONDS = {"hibari": 25.3, "pico": 27.8, "flite": 26.4, "kokoro": 27.0}
_PAUSE_SECONDS = (0.35, 0.65)  # between sentences
_EDGE_SECONDS = 0.15  # of silence around a story


class Spoken(Protocol):
    """Sentences, or words as phones, that a speaker says one after the other: one file."""

    @property
    def path(self) -> str:
        """Below the folder of the corpus."""

    @property
    def speaker(self) -> Speaker:
        """Who says them."""

    @property
    def pieces(self) -> tuple[str, ...]:
        """What is said, pauses between."""

    @property
    def key(self) -> tuple[int | str, ...]:
        """Of the lots that decide pauses and breath."""


@dataclasses.dataclass(frozen=True)
class Telling:
    """A story told by a speaker: one file."""

    speaker: Speaker
    seed: int  # of the story
    part: str  # top folder

    @property
    def path(self) -> str:
        """Below the folder of the corpus."""
        return f"{self.part}/{self.speaker.name}/{self.seed:09d}.flac"

    @property
    def pieces(self) -> tuple[str, ...]:
        """The sentences of the story."""
        return story(self.seed).sentences

    @property
    def key(self) -> tuple[int | str, ...]:
        """Of the lots that decide pauses and breath."""
        return "telling", self.speaker.name, self.seed


def is_held_out(seed: int) -> bool:
    """Whether training never hears a story."""
    return seed % _HELD_OUT_EVERY == _HELD_OUT_REMAINDER


def part_of(speaker: Speaker, seed: int) -> str:
    """The top folder of a telling."""
    part = {
        (False, False): "train",
        (False, True): "heldout_stories",
        (True, False): "heldout_speakers",
        (True, True): "heldout_both",
    }[speaker.held_out, is_held_out(seed)]
    return f"{part}_slow" if speaker.is_slow else part


def plan_fast(hours: float, seed: int) -> list[Telling]:
    """About `hours` of the fast engines, divided by the speakers' shares."""
    shares = [_HELD_OUT_SHARE if s.held_out else s.share for s in FAST_SPEAKERS]
    seconds = hours * 3600 / sum(shares)
    wanted = {s.name: seconds * share for s, share in zip(FAST_SPEAKERS, shares, strict=True)}
    return list(_tellings(FAST_SPEAKERS, wanted, seed))


def plan_slow(minutes: float, seed: int, voices: Sequence[str] | None = None) -> list[Telling]:
    """About `minutes` of each Kokoro voice, or of those named."""
    wanted = {s.name: minutes * 60 for s in SLOW_SPEAKERS if voices is None or s.voice in voices}
    return list(_tellings(SLOW_SPEAKERS, wanted, seed))


def _tellings(
    speakers: Sequence[Speaker], seconds: dict[str, float], corpus_seed: int
) -> Iterator[Telling]:
    """Each speaker has stories of its own; a held-out one shares those of a partner.

    It tells some that training hears from the partner and as many that training does not hear.
    """
    everyone = [*FAST_SPEAKERS, *SLOW_SPEAKERS]
    partners: dict[str, Speaker] = {}
    for speaker in speakers:
        heard = [s for s in speakers if not s.held_out and s.engine == speaker.engine]
        free = [s for s in heard if s not in partners.values() and s.sex == speaker.sex] or heard
        partners[speaker.name] = free[0] if speaker.held_out else speaker
    for speaker in speakers:
        length = seconds.get(speaker.name, 0)
        count = math.ceil(length * speaker.tempo / _STORY_SECONDS[speaker.engine]) if length else 0
        block = corpus_seed * CORPUS + everyone.index(partners[speaker.name]) * _BLOCK
        for seed in _seeds(block, count, halves=speaker.held_out):
            yield Telling(speaker, seed, part_of(speaker, seed))


def _seeds(block: int, count: int, *, halves: bool) -> list[int]:
    """The first stories of a block; with `halves`, every second of them held out."""
    if not halves:
        return [block + place for place in range(count)]
    block_seeds = range(block, block + _BLOCK)
    heard = (seed for seed in block_seeds if not is_held_out(seed))
    unheard = (seed for seed in block_seeds if is_held_out(seed))
    return [next(unheard) if place % 2 else next(heard) for place in range(count)]


def tell(spoken: Spoken, say: Say) -> np.ndarray:
    """A whole file: its sentences with pauses between, float32 [samples] at RATE_HZ."""
    lots = Lots(*spoken.key)
    sounds = [_silence(_EDGE_SECONDS)]
    for number, piece in enumerate(spoken.pieces):
        if number:
            sounds.append(_silence(lots.uniform(*_PAUSE_SECONDS)))
        sounds.append(say(piece, spoken.speaker, lots.bits() >> 32))
    return np.concatenate([*sounds, _silence(_EDGE_SECONDS)])


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def seconds_of(path: Path) -> float:
    """Length of a file of `write_flac`."""
    import soundfile

    return soundfile.info(path).duration


def tellings_in(directory: Path) -> list[Telling]:
    """All that have been spoken, in the order of their paths."""
    speakers = {speaker.name: speaker for speaker in (*FAST_SPEAKERS, *SLOW_SPEAKERS)}
    found = []
    for path in sorted(directory.glob("*/*/*.flac")):
        speaker, part = speakers.get(path.parent.name), path.parent.parent.name
        if speaker and re.fullmatch(r"\d{9}", path.stem) and not path.is_symlink():
            found.append(Telling(speaker, int(path.stem), part))
    return found


def write_tellings(directory: Path, tellings: Iterable[Spoken], say: Say) -> None:
    """Speaks those whose file is not there yet; a file appears whole or not at all."""
    for telling in tellings:
        path = directory / telling.path
        if not path.exists():
            samples = tell(telling, say)
            with atomic_path(path) as scratch:
                write_flac(scratch, samples)


def write_flac(path: Path, samples: np.ndarray) -> None:
    """16-bit mono at RATE_HZ."""
    import soundfile

    soundfile.write(path, np.rint(samples * 32767).astype(np.int16), RATE_HZ, subtype="PCM_16")
