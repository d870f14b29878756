"""Sample rate conversion by a named resampler; the name goes into every data fingerprint."""

from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from jaxtyping import Float

from audiolm_jax.audio.files import read_audio

Resampler = Literal["soxr_hq"]


def resampled_length(num_samples: int, from_hz: int, to_hz: int) -> int:
    """Samples after conversion: the duration rounded to the nearest sample, at least 1."""
    return max(1, (2 * num_samples * to_hz + from_hz) // (2 * from_hz)) if num_samples else 0


def resample(
    samples: Float[np.ndarray, " s"], from_hz: int, to_hz: int, resampler: Resampler
) -> Float[np.ndarray, " n"]:
    """Converts the sample rate of a whole recording.

    Args:
      samples: float32 [s].
      from_hz: its sample rate.
      to_hz: the wanted sample rate; equal rates return the samples untouched.
      resampler: "soxr_hq", libsoxr's high quality linear-phase recipe (20 bits).

    Returns:
      float32 [n], n = resampled_length(s, from_hz, to_hz). Band-limiting may overshoot [-1, 1].
    """
    if from_hz == to_hz:
        return samples
    quality = {"soxr_hq": "HQ"}[resampler]
    converted = soxr.resample(samples, from_hz, to_hz, quality=quality)
    length = resampled_length(len(samples), from_hz, to_hz)
    return np.pad(converted[:length], (0, max(0, length - len(converted))))


def read_resampled(
    path: Path | str,
    to_hz: int,
    resampler: Resampler,
    start_seconds: float = 0.0,
    seconds: float | None = None,
) -> Float[np.ndarray, " n"]:
    """`read_audio` and `resample` in one: float32 [n] mono at `to_hz`.

    The stretch is cut first and converted after, so its ends are treated as the ends of a file.

    Raises:
      InputError: as `read_audio`.
    """
    samples, rate = read_audio(path, start_seconds, seconds)
    return resample(samples, rate, to_hz, resampler)
