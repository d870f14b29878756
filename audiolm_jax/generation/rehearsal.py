"""The first window's programs, compiled or read beside the hearing of the prompt.

A start waits for programs, of which those of the stages and of the codec's decoder can be had
before anything is heard: they depend on sizes alone. A window of nothing is made by the same
schedule, on a second core, its loops without a step.
"""

import copy
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.generation.acoustics import Acoustics


def rehearse(generator: Any, prompts: Sequence[int], seconds: float, is_streamed: bool) -> None:
    """Begins a thread, where there is a core for it, for prompts of so many samples that are
    continued together by so many seconds; what it has not come to is compiled where it is needed.
    """
    if _cores() < 2:
        return
    frame = generator.bundle.semantic_tokenizer.hop_samples
    sizes = [samples // frame for samples in prompts]
    threading.Thread(target=_make_first, args=(generator, sizes, seconds, is_streamed)).start()


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _make_first(generator: Any, sizes: list[int], seconds: float, is_streamed: bool) -> None:
    other = copy.copy(generator)
    other._decoders = {name: d.rehearsing() for name, d in generator._decoders.items()}
    other._acoustics = Acoustics(other._decoders, generator.schedule)
    try:
        frames, levels = other._frames_of(seconds), generator.levels
        tracks = [
            other._track(
                0,
                frames,
                np.zeros(size * generator.bundle.semantic_tokenizer.hop_samples, np.float32),
                np.zeros((size * other._ratio, levels), np.int32),
                np.zeros(size, np.int32),
            )
            for size in sizes
        ]
        jobs = other._next_jobs(tracks, 0, None)
        next(other._stream_acoustics(jobs, None, is_streamed), None)
    except InputError:  # which the work itself will meet, and say
        pass
