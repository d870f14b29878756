"""Recordings to read aloud again: whole, or up to the end of a sentence, for bands of length."""

import dataclasses
import difflib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from audiolm_jax.audio.names import file_name
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.evaluation.measures.recognition import HeardWord
from audiolm_jax.evaluation.world.judge import ends_sentence
from audiolm_jax.evaluation.world.language import World

_QUIET_SECONDS = 0.1  # stretch whose energy tells where a pause is

Band = tuple[float, float]  # seconds: from, to below


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A clip that is read, or its beginning."""

    clip: ClipInfo
    stop: int  # samples of it
    text: str

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the clip."""
        return self.stop == self.clip.num_samples

    @property
    def name(self) -> str:
        """What its files are called."""
        return file_name(self.clip.clip_id) + ("" if self.is_whole else f"_to{self.stop}")

    def load(self, index: ClipIndex) -> Float[np.ndarray, " s"]:
        """Its samples."""
        return index.load(self.clip)[: self.stop]


def whole(clip: ClipInfo) -> Utterance:
    """All of a clip."""
    return Utterance(clip, clip.num_samples, clip.text)


def band_name(band: Band) -> str:
    """ "4 to 10 s"."""
    return f"{band[0]:g} to {band[1]:g} s"


def beginnings(
    clip: ClipInfo,
    samples: Float[np.ndarray, " s"],
    rate_hz: int,
    world: World,
    heard: Sequence[HeardWord],
    bands: Sequence[Band],
) -> list[Utterance]:
    """For each band that a clip is too long for its longest beginning in it, if there is one: up to
    a pause between two sentences of the transcript that was heard right on both sides."""
    found, ends = [], sentence_ends(clip.text, samples, rate_hz, world, heard)
    for low, high in bands:
        if clip.num_samples >= high * rate_hz:
            fits = [x for x in ends if low * rate_hz <= x[0] < high * rate_hz]
            found += [Utterance(clip, *fits[-1])] if fits else []
    return found


def sentence_ends(
    transcript: str,
    samples: Float[np.ndarray, " s"],
    rate_hz: int,
    world: World,
    heard: Sequence[HeardWord],
) -> list[tuple[int, str]]:
    """Where sentences of a transcript end, in samples, and the transcript so far: at the quietest
    place between the middles of the words before and after, both heard as they are written."""
    tokens = transcript.split()
    written = [(world.read(token), place) for place, token in enumerate(tokens)]
    true = [(word, place) for words, place in written for word in words]
    said = [(word, item) for item in heard for word in world.read(item.text)]
    written_sounds = [world.as_sounds([word]) for word, _ in true]
    said_sounds = [world.as_sounds([word]) for word, _ in said]
    match = difflib.SequenceMatcher(None, written_sounds, said_sounds, autojunk=False)
    ends = []
    for first, second, size in match.get_matching_blocks():
        for step in range(size - 1):
            place, after = true[first + step][1], true[first + step + 1][1]
            left, right = said[second + step][1], said[second + step + 1][1]
            begins = next((x for x in tokens[after] if x.isalpha()), "").isupper()
            if place < after and left is not right and begins and ends_sentence(tokens[place]):
                stop = _quietest(samples, rate_hz, left.middle, right.middle)
                ends.append((stop, " ".join(tokens[: place + 1])))
    return ends


def _quietest(samples: Float[np.ndarray, " s"], rate_hz: int, start: float, stop: float) -> int:
    """Middle of the quietest tenth of a second in a stretch of the samples."""
    size, begin = round(_QUIET_SECONDS * rate_hz), round(start * rate_hz)
    power = np.asarray(samples[begin : round(stop * rate_hz)], np.float64) ** 2
    if len(power) <= size:
        return begin + len(power) // 2
    sums = np.cumsum(np.concatenate([[0.0], power]))
    return begin + int((sums[size:] - sums[:-size]).argmin()) + size // 2
