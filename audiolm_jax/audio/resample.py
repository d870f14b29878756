"""Sample rate conversion by a named resampler; the name goes into every data fingerprint."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from jaxtyping import Float, Int

from audiolm_jax.audio.files import iter_audio, read_audio
from audiolm_jax.audio.names import shown
from audiolm_jax.errors import InputError

Resampler = Literal["soxr_hq"]  # libsoxr's high quality linear-phase recipe (20 bits)
_QUALITY = {"soxr_hq": "HQ"}


def resampled_length(num_samples: int, from_hz: int, to_hz: int) -> int:
    """Samples after conversion: the duration rounded to the nearest sample, at least 1."""
    return int(resampled_lengths(np.array([num_samples]), np.array([from_hz]), to_hz)[0])


def resampled_lengths(
    num_samples: Int[np.ndarray, " n"], from_hz: Int[np.ndarray, " n"], to_hz: int
) -> Int[np.ndarray, " n"]:
    """`resampled_length` of many."""
    lengths = np.maximum(1, (2 * num_samples * to_hz + from_hz) // (2 * from_hz))
    return np.where(num_samples == 0, 0, lengths)


def resample(
    samples: Float[np.ndarray, " s"], from_hz: int, to_hz: int, resampler: Resampler
) -> Float[np.ndarray, " n"]:
    """A whole recording at another rate, n = resampled_length(s, ...); may overshoot [-1, 1]."""
    if from_hz == to_hz:
        return samples
    converted = soxr.resample(samples, from_hz, to_hz, quality=_QUALITY[resampler])
    length = resampled_length(len(samples), from_hz, to_hz)
    return np.pad(converted[:length], (0, max(0, length - len(converted))))


def resample_blocks(
    blocks: Iterable[tuple[Float[np.ndarray, " s"], int]], to_hz: int, resampler: Resampler
) -> Iterator[Float[np.ndarray, " n"]]:
    """`resample` of blocks with their rate in Hz, all the same; equal bits for any cut."""
    stream, given, made, rate = None, 0, 0, to_hz
    for block, rate in blocks:
        if rate == to_hz:
            yield block
            continue
        if stream is None:
            stream = soxr.ResampleStream(rate, to_hz, 1, "float32", _QUALITY[resampler])
        converted = stream.resample_chunk(block)
        given += len(block)
        made += len(converted)
        if len(converted):
            yield converted
    if stream is not None:
        missing = resampled_length(given, rate, to_hz) - made
        tail = stream.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
        yield np.pad(tail, (0, missing - len(tail)))


def iter_resampled(
    path: Path | str, to_hz: int, resampler: Resampler
) -> Iterator[Float[np.ndarray, " n"]]:
    """`read_resampled` of a whole file block by block; the same samples, errors as `iter_audio`."""
    count = 0
    for block in resample_blocks(iter_audio(path), to_hz, resampler):
        count += len(block)
        yield block
    if not count:
        raise InputError(f"{shown(path)}: holds no samples")


def read_resampled(
    path: Path | str,
    to_hz: int,
    resampler: Resampler,
    start_seconds: float = 0.0,
    seconds: float | None = None,
) -> Float[np.ndarray, " n"]:
    """`read_audio`, then `resample`: the ends of the stretch are treated as those of a file."""
    return resample(*read_audio(path, start_seconds, seconds), to_hz, resampler)
