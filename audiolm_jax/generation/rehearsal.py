"""The first window's programs, compiled or read beside the hearing of the prompt.

A start waits for programs, of which those of the stages and of the codec's decoder can be had
before anything is heard: they depend on sizes alone. A window of nothing is made by the same
schedule, its loops without a step, in two threads: the stages in turn, and beside them what comes
last, the decoder and the fine stage. The hearing is a third, and where cores are fewer, the system
divides them.
"""

import copy
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from audiolm_jax.errors import InputError
from audiolm_jax.generation.acoustics import Acoustics
from audiolm_jax.generation.sound import Sound


def rehearse(generator: Any, prompts: Sequence[int], seconds: float, is_streamed: bool) -> None:
    """Begins threads, where there is a core for them, for prompts of so many samples that are
    continued together by so many seconds; what they have not come to is compiled where it is
    needed.
    """
    if _cores() < 2:
        return
    frame = generator.bundle.semantic_tokenizer.hop_samples
    sizes = [samples // frame for samples in prompts]
    other = copy.copy(generator)
    other._decoders = {name: d.rehearsing() for name, d in generator._decoders.items()}
    other._acoustics = Acoustics(other._decoders, generator.schedule)
    for work, *more in (_make_first, is_streamed), (_make_last,):
        threading.Thread(target=work, args=(other, sizes, seconds, *more)).start()


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _make_first(generator: Any, sizes: list[int], seconds: float, is_streamed: bool) -> None:
    """The window, without its sound."""
    other = copy.copy(generator)
    other._sound_type = _Mute
    try:
        frames, levels = other._frames_of(seconds), other.levels
        tracks = [
            other._track(
                0,
                frames,
                np.zeros(size * other.bundle.semantic_tokenizer.hop_samples, np.float32),
                np.zeros((size * other._ratio, levels), np.int32),
                np.zeros(size, np.int32),
            )
            for size in sizes
        ]
        jobs = other._next_jobs(tracks, 0, None)
        next(other._stream_acoustics(jobs, None, is_streamed), None)
    except InputError:  # which the work itself will meet, and say
        pass


def _make_last(generator: Any, sizes: list[int], seconds: float) -> None:
    """The sound of a prompt and of the first chunk, and this chunk's fine levels."""
    try:
        known = min(sizes) * generator._ratio
        new = min(generator.schedule.first_chunk, generator._frames_of(seconds))
        codes = np.zeros((known + new, generator.levels), np.int32)
        sound = Sound(generator.bundle.codec, generator._ratio, generator.levels)
        sound.push(codes[:known])
        sound.push(codes[known:])
        if "fine" in generator._decoders:
            generator.refine([codes] * len(sizes), known, [0] * len(sizes))
    except InputError:
        pass


class _Mute(Sound):
    """Codes without their sound."""

    def push(self, codes: Int[np.ndarray, "t q"]) -> None:
        self.codes = np.concatenate([self.codes, codes])
