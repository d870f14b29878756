"""The mel spectrum that evaluation measures and draws with; like every yardstick, it is fixed."""

import functools

import numpy as np
from jaxtyping import Complex128, Float, Float64

BANDS = 80
WINDOW_SECONDS = 0.040
HOP_SECONDS = 0.010
RANGE_DB = 75.0  # of what is drawn
FLOOR = 1e-5  # -100 dB below a sine of full scale


def band_of_hz(hz: float, sample_rate_hz: int) -> float:
    """Where a frequency lies on the mel axis: 0 at 0 Hz, 1 at half the sample rate."""
    return float(_mel_of_hz(hz) / _mel_of_hz(sample_rate_hz / 2))


def _mel_of_hz(hz: float) -> float:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


@functools.lru_cache(maxsize=8)
def _htk_filters(sample_rate_hz: int, fft_size: int) -> Float64[np.ndarray, "80 f"]:
    """Triangles of height 1: `librosa.filters.mel`, whose import writes caches and takes long."""
    mels = np.linspace(0.0, _mel_of_hz(sample_rate_hz / 2), BANDS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(fft_size, 1 / sample_rate_hz))
    widths = np.diff(edges)[:, None]
    return np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]))


def mel_spectrum(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int
) -> Float64[np.ndarray, "frames 80"]:
    """Magnitudes in 80 HTK mel bands up to half the rate, 1 + s // hop frames, zeros at the ends;
    about 1 for a sine of full scale in its band, nowhere below 1e-5."""
    from scipy.signal import get_window

    window_samples = round(WINDOW_SECONDS * sample_rate_hz)
    fft_size = 1 << (window_samples - 1).bit_length()
    window = get_window("hann", window_samples)
    left = (fft_size - window_samples) // 2
    window = np.pad(window, (left, fft_size - window_samples - left))
    padded = np.pad(samples.astype(np.float64), fft_size // 2)
    spectrum = short_time_spectrum(padded, window, round(HOP_SECONDS * sample_rate_hz))
    filters = _htk_filters(sample_rate_hz, fft_size)
    magnitudes = (np.abs(spectrum) @ filters.T) * (2.0 / window.sum())
    return np.maximum(magnitudes, FLOOR)


def shades(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int, peak_db: float | None = None
) -> Float64[np.ndarray, "frames 80"]:
    """The mel spectrum to be drawn: 1 at `peak_db`, None for its own loudest point, and 0 from
    75 dB below on."""
    level_db = 20.0 * np.log10(mel_spectrum(samples, sample_rate_hz))
    peak_db = level_db.max() if peak_db is None else peak_db
    return np.clip((level_db - peak_db) / RANGE_DB + 1.0, 0.0, 1.0)


def short_time_spectrum(
    samples: Float[np.ndarray, " s"], window: Float[np.ndarray, " w"], hop_samples: int
) -> Complex128[np.ndarray, "frames f"]:
    """Spectra of the 1 + (s - w) // hop windows that lie within the samples, w // 2 + 1 each."""
    # librosa's own needs half a minute of compilation on a new machine.
    frames = np.lib.stride_tricks.sliding_window_view(samples, len(window))[::hop_samples]
    return np.fft.rfft(frames * window)
