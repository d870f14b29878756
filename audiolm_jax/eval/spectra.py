"""The one mel spectrum that evaluation measures and draws with, apart from any model's own.

A yardstick must not change with what it measures: the settings are fixed here and read no config.
"""

import functools
import math

import numpy as np
from jaxtyping import Float

BANDS = 80
WINDOW_SECONDS = 0.040
HOP_SECONDS = 0.010
FLOOR = 1e-5  # -100 dB below a sine of full scale


def _hz_to_mel(hz: float) -> float:
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def band_of_hz(hz: float, sample_rate_hz: int) -> float:
    """Where a frequency lies on the mel axis: 0 at 0 Hz, 1 at half the sample rate."""
    return _hz_to_mel(hz) / _hz_to_mel(sample_rate_hz / 2)


@functools.cache
def _mel_filters(sample_rate_hz: int, fft_size: int) -> np.ndarray:
    """Triangles of peak 1, float64 [BANDS, fft_size // 2 + 1]."""
    bins = np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(sample_rate_hz / 2), BANDS + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins[None, :] - low) / (centre - low)
    falling = (high - bins[None, :]) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def mel_spectrum(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int
) -> Float[np.ndarray, "frames bands"]:
    """Magnitudes in mel bands.

    Args:
      samples: mono audio; the ends are padded with zeros by half a window.
      sample_rate_hz: its rate.

    Returns:
      float64 [1 + s // hop, 80] with a window of 40 ms, a hop of 10 ms and HTK mel bands up to
      half the rate. A sine of full scale has about 1 in its band; nothing is below 1e-5.
    """
    window_samples = round(WINDOW_SECONDS * sample_rate_hz)
    hop = round(HOP_SECONDS * sample_rate_hz)
    fft_size = 1 << (window_samples - 1).bit_length()
    half = window_samples // 2
    padded = np.pad(samples.astype(np.float64), (half, window_samples - half))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop]
    frames = frames[: 1 + len(samples) // hop]
    window = np.hanning(window_samples + 1)[:-1]
    spectrum = np.abs(np.fft.rfft(frames * window[None, :], fft_size)) * (2.0 / window.sum())
    return np.maximum(spectrum @ _mel_filters(sample_rate_hz, fft_size).T, FLOOR)
