"""Short-time spectra: mel filters, STFT and log-mel spectrogram, with one framing rule for all.

Framing rule: time is cut into cells of `hop` samples, cell i holding samples
[i * hop, (i + 1) * hop), and frame i is the window centered on cell i, so it begins at sample
i * hop - (window - hop) // 2. Samples before the first and after the last count as zero. There are
ceil(samples / hop) frames: every sample lies in exactly one cell, and a partial last cell counts.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from audiolm_jax.errors import InputError

# Slaney's mel scale: linear up to a break, logarithmic beyond.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27  # of the frequency, per mel


@functools.lru_cache(maxsize=64)
def mel_filterbank(
    sample_rate_hz: int,
    fft_size: int,
    bins: int,
    fmin_hz: float = 0.0,
    fmax_hz: float | None = None,
) -> Float[np.ndarray, "f m"]:
    """Triangular mel filters, Slaney's scale and area normalization: `librosa.filters.mel`, cached
    and read-only; computed here, bit for bit, because importing librosa takes seconds. `fmax_hz`
    None is half the sample rate. A filter narrower than the FFT's resolution may be all zero."""
    top = sample_rate_hz / 2 if fmax_hz is None else fmax_hz
    if not 0 <= fmin_hz < top <= sample_rate_hz / 2:
        limits = f"0 to {sample_rate_hz / 2} Hz, half the sample rate"
        raise InputError(f"mel band {fmin_hz} .. {top} Hz: expected to rise within {limits}")
    edges = _mel_edges(bins, fmin_hz, top)
    frequencies = np.fft.rfftfreq(fft_size, 1 / sample_rate_hz)
    distances = edges[:, None] - frequencies
    widths = np.diff(edges)[:, None]
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    unit_area = 2 / (edges[2:] - edges[:-2])
    weights = np.ascontiguousarray((triangles * unit_area[:, None]).T, np.float32)
    weights.setflags(write=False)  # the cache hands the same array to every caller
    return weights


def _mel_edges(bins: int, fmin_hz: float, fmax_hz: float) -> np.ndarray:
    """Lower edge, centers and upper edge in Hz, float64 [bins + 2]."""
    mels = np.linspace(_hz_to_mel(fmin_hz), _hz_to_mel(fmax_hz), bins + 2)
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, _HZ_PER_MEL * mels, logarithmic)


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP


def zero_beyond(samples: Float[Array, "b s"], lengths: Int[Array, " b"]) -> Float[Array, "b s"]:
    """Replaces what lies at or beyond each length by zero, whatever it holds, NaN included."""
    inside = jnp.arange(samples.shape[1])[None, :] < lengths[:, None]
    return jnp.where(inside, samples, 0)


def hann_window(size: int) -> Float[np.ndarray, " w"]:
    """Periodic Hann window, float32."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


def frame(
    samples: Float[Array, "b s"], window_samples: int, hop_samples: int
) -> Float[Array, "b t w"]:
    """Cuts audio into t = ceil(s / hop_samples) frames by the framing rule of this module."""
    if window_samples < hop_samples:
        raise ValueError(f"window of {window_samples} samples is shorter than hop {hop_samples}")
    batch, length = samples.shape
    frames = -(-length // hop_samples)
    shifts = -(-window_samples // hop_samples)
    left = (window_samples - hop_samples) // 2
    right = (frames + shifts - 1) * hop_samples - left - length
    padded = jnp.pad(samples, ((0, 0), (left, max(right, 0))))
    cells = padded[:, : (frames + shifts - 1) * hop_samples].reshape(batch, -1, hop_samples)
    # Shifted slices instead of a gather: their gradient is a few additions, not a scatter.
    parts = [cells[:, shift : shift + frames] for shift in range(shifts)]
    return jnp.concatenate(parts, axis=-1)[:, :, :window_samples]


def spectrum_by_products(frames: Float[Array, "b t w"], fft_size: int) -> Complex[Array, "b t f"]:
    """`jnp.fft.rfft(frames, n=fft_size)`, w <= fft_size, as a product with a matrix."""
    bins = fft_size // 2 + 1
    turns = jnp.outer(jnp.arange(frames.shape[-1]), jnp.arange(bins)) % fft_size  # exact integers
    angles = turns.astype(jnp.float32) * (2 * np.pi / fft_size)
    # The barrier keeps sines from being computed again inside the product, tile by tile.
    waves = jnp.concatenate([jnp.cos(angles), -jnp.sin(angles)], axis=1)
    matrix = jax.lax.optimization_barrier(waves)
    # One bfloat16 pass would leave nothing of the weak bins, whose logarithms are compared.
    parts = jnp.einsum("btw,wf->btf", frames, matrix, precision=jax.lax.Precision.HIGHEST)
    return jax.lax.complex(parts[..., :bins], parts[..., bins:])


def spectrum_of_frames(frames: Float[Array, "b t w"], fft_size: int) -> Complex[Array, "b t f"]:
    """`jnp.fft.rfft(frames, n=fft_size)`, on a TPU by `spectrum_by_products`."""
    # The TPU compiler takes long over Fourier transforms, and makes slow ones (docs/guide/tpu.md).
    products = functools.partial(spectrum_by_products, fft_size=fft_size)
    fourier = functools.partial(jnp.fft.rfft, n=fft_size)
    return jax.lax.platform_dependent(frames, tpu=products, default=fourier)


def stft(
    samples: Float[Array, "b s"], fft_size: int, hop_samples: int, window_samples: int | None = None
) -> Complex[Array, "b t f"]:
    """Short-time Fourier transform with a periodic Hann window, padded to the FFT on the right;
    t = ceil(s / hop_samples). Items of unequal lengths want `zero_beyond` first."""
    window_samples = fft_size if window_samples is None else window_samples
    if window_samples > fft_size:
        raise ValueError(f"window of {window_samples} samples exceeds fft_size {fft_size}")
    window = jnp.asarray(hann_window(window_samples))[None, None, :]
    return spectrum_of_frames(frame(samples, window_samples, hop_samples) * window, fft_size)


def log_mel_spectrogram(
    samples: Float[Array, "b s"],
    lengths: Int[Array, " b"],
    *,
    sample_rate_hz: int,
    fft_size: int,
    window_samples: int,
    hop_samples: int,
    bins: int,
    floor: float,
    fmin_hz: float = 0.0,
    fmax_hz: float | None = None,
) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
    """Natural logarithm of the mel power spectrogram, and the valid frames of each item,
    ceil(length / hop_samples) of t = ceil(s / hop_samples); what lies beyond is finite but means
    nothing. Mel powers below `floor` are raised to it; samples beyond `lengths` count as zero."""
    spectrum = stft(zero_beyond(samples, lengths), fft_size, hop_samples, window_samples)
    # Squares of the parts, not abs()**2: its gradient is finite where a frame is silent.
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    filters = jnp.asarray(mel_filterbank(sample_rate_hz, fft_size, bins, fmin_hz, fmax_hz))
    mel = jnp.einsum("btf,fm->btm", power, filters)
    return jnp.log(jnp.maximum(mel, floor)), -(-lengths // hop_samples)


def warp_frequencies(
    mel: Float[Array, "b t m"], factors: Float[Array, " b"], sample_rate_hz: int
) -> Float[Array, "b t m"]:
    """A (log-)mel spectrogram as if every frequency of an item had been multiplied by a factor:
    what a vocal tract of another length does to a voice, roughly (Jaitly & Hinton 2013). Bins, from
    0 Hz to half the rate, are interpolated; beyond the outermost, their values are repeated."""
    bins = mel.shape[-1]
    edges = _mel_edges(bins, 0.0, sample_rate_hz / 2)
    centers = jnp.asarray(edges[1:-1].astype(np.float32))
    places = jnp.arange(bins, dtype=jnp.float32)
    sources = jnp.interp(centers[None, :] / factors[:, None], centers, places)
    weights = jnp.maximum(0, 1 - jnp.abs(sources[:, None, :] - places[None, :, None]))
    return jnp.einsum("btm,bmn->btn", mel, weights)
