"""Which frames are made together: windows of the coarse stage, chunks of the fine one.

Offline and streaming follow the same schedule, so that they make the same sound. It depends on the
length of the prompt and the seconds asked for alone, and its cost grows linearly with them.

    prompt ------------------>|<- asked for ------------------------------------------>|
    |<- context ->|<- window 0: chunk | chunk | chunk ->|
                                  |<- context ->|<- window 1: chunk | chunk | chunk ->|

The fine stage is told all levels of the frames before its chunk, and so goes on with their voice.

Paper: AudioLM says nothing of sound longer than the coarse stage's crop; SoundStorm's authors ran
it in windows of 10 s, each prompted by the last 3 s. Its fine stage is told nothing of the sound
before its chunk (docs/reference/deviations.md).
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Int, Integer

from audiolm_jax.errors import InputError
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.stages import StageConfig


@dataclasses.dataclass(frozen=True)
class Window:
    """Frames that the coarse stage writes to one prompt."""

    context: int  # frames before the window that prompt it
    chunks: tuple[int, ...]  # new frames, by the chunks in which the fine stage writes them

    @property
    def frames(self) -> int:
        """New frames of the window."""
        return sum(self.chunks)

    @property
    def starts(self) -> tuple[int, ...]:
        """First frame of each chunk, counted from the window's first new one."""
        return tuple(sum(self.chunks[:i]) for i in range(len(self.chunks)))

    def cut(self, frames: int) -> "Window":
        """Its first `frames` new frames, or all."""
        chunks = [
            min(chunk, frames - start)
            for start, chunk in zip(self.starts, self.chunks, strict=True)
            if start < frames
        ]
        return Window(self.context, tuple(chunks))


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How a length of sound is divided; all numbers are codec frames."""

    window: int  # most frames of a window and its context: the coarse stage's crop
    context: int  # that prompt a window at least, where so many are there and not all fits
    chunk: int  # most frames of a chunk: what its context leaves of the fine stage's crop
    fine_context: int  # most frames before a chunk of which the fine stage is told all levels
    first_chunk: int  # most frames of the first chunk of all, so that sound starts early

    def windows(self, there: int, total: int) -> Iterator[Window]:
        """What follows `there` frames until there are `total`, if no model ends earlier."""
        is_first = True
        while there < total:
            # Where all that is still to come fits beside it, more context than the least.
            context = min(there, max(self.context, self.window - (total - there)))
            frames = min(total - there, self.window - context)
            yield Window(context, self._chunks(frames, is_first))
            there, is_first = there + frames, False

    def _chunks(self, frames: int, is_first: bool) -> tuple[int, ...]:
        chunks = [min(frames, self.first_chunk)] if is_first else []
        while (left := frames - sum(chunks)) > 0:
            chunks.append(min(left, self.chunk))
        return tuple(chunks)


def schedule_of(stages: Mapping[str, StageConfig], config: GenerationConfig) -> Schedule:
    """Of a bundle's stages by name; InputError if the context fills the coarse stage's window."""
    coarse = stages["coarse"]
    if config.context_seconds >= coarse.crop_seconds:
        flag = f"--generation.context-seconds {config.context_seconds}"
        window = f"the coarse stage's window of {coarse.crop_seconds} s"
        raise InputError(f"{flag}: expected less than {window}")
    context, first = (
        frames_in(seconds, coarse) for seconds in (config.context_seconds, config.first_seconds)
    )
    if "fine" not in stages:  # chunks decide only how sound is streamed
        return Schedule(coarse.crop_frames, context, context, 0, first)
    crop = stages["fine"].crop_frames
    told = min(crop - 1, round(crop * config.fine_context_share))
    return Schedule(coarse.crop_frames, context, crop - told, told, min(first, crop - told))


def frames_in(seconds: float, coarse: StageConfig) -> int:
    """Codec frames of whole semantic ones, at least one, in about so many seconds."""
    return max(1, round(seconds * coarse.semantic_rate_hz)) * coarse.frames_per_semantic


def spoken_tokens(told: Int[np.ndarray, " n"], heard: Integer[np.ndarray, " m"]) -> int:
    """How many of the semantic tokens that a window was told are spoken in its sound.

    `heard` are the tokens of the end of that sound. They are aligned with any stretch of `told` at
    the least number of insertions, deletions and exchanges; what follows the stretch is unspoken.
    Of equally good ends the last counts, and where not half of what is heard fits, all counts as
    spoken: then the sound says nothing of the tokens.
    """
    position = np.arange(len(told) + 1)
    cost = np.zeros(len(told) + 1, int)  # of the heard tokens so far, by where the stretch ends
    for token in heard:
        by_step = np.append(cost[0] + 1, np.minimum(cost[:-1] + (told != token), cost[1:] + 1))
        cost = np.minimum.accumulate(by_step - position) + position
    if len(heard) and 2 * cost.min() > len(heard):
        return len(told)
    return int(np.flatnonzero(cost == cost.min())[-1])
