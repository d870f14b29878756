"""Short-time spectra: mel filters, STFT and log-mel spectrogram, with one framing rule for all.

Framing rule: time is cut into cells of `hop` samples, cell i holding samples
[i * hop, (i + 1) * hop), and frame i is the window centred on cell i, so it begins at sample
i * hop - (window - hop) // 2. Samples before the first and after the last count as zero. There are
ceil(samples / hop) frames: every sample lies in exactly one cell, and a partial last cell counts.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from audiolm_jax.errors import InputError


@functools.lru_cache(maxsize=64)
def _cached_filterbank(
    sample_rate_hz: int, fft_size: int, bins: int, fmin_hz: float, fmax_hz: float
) -> np.ndarray:
    import librosa.filters  # lazy: importing the codec or the command line must not pay for it

    with warnings.catch_warnings():
        # The short windows of the multi-scale loss leave some filters empty, as the paper has it.
        warnings.filterwarnings("ignore", "Empty filters detected", UserWarning)
        weights = librosa.filters.mel(
            sr=sample_rate_hz,
            n_fft=fft_size,
            n_mels=bins,
            fmin=fmin_hz,
            fmax=fmax_hz,
            norm="slaney",
        )
    weights = np.ascontiguousarray(weights.T, dtype=np.float32)
    weights.setflags(write=False)  # the cache hands the same array to every caller
    return weights


def mel_filterbank(
    sample_rate_hz: int,
    fft_size: int,
    bins: int,
    fmin_hz: float = 0.0,
    fmax_hz: float | None = None,
) -> Float[np.ndarray, "f m"]:
    """Triangular mel filters, Slaney's scale and area normalisation (librosa's default).

    Args:
      sample_rate_hz: rate of the audio.
      fft_size: points of the FFT.
      bins: number of filters.
      fmin_hz: lower edge of the first filter.
      fmax_hz: upper edge of the last filter; None means half the sample rate.

    Returns:
      float32 [fft_size // 2 + 1, bins], read-only. A filter narrower than the FFT's resolution may
      be all zero; short FFTs want few bins.

    Raises:
      InputError: the band does not lie within 0 .. sample_rate_hz / 2.
    """
    top = sample_rate_hz / 2 if fmax_hz is None else fmax_hz
    if not 0 <= fmin_hz < top <= sample_rate_hz / 2:
        raise InputError(
            f"mel band {fmin_hz} .. {top} Hz: expected 0 <= fmin_hz < fmax_hz <= "
            f"{sample_rate_hz / 2}, half the sample rate"
        )
    return _cached_filterbank(sample_rate_hz, fft_size, bins, float(fmin_hz), float(top))


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
    """Cuts audio into frames by the framing rule of this module.

    Args:
      samples: [b, s].
      window_samples: samples in a frame, at least hop_samples.
      hop_samples: samples between frames.

    Returns:
      [b, ceil(s / hop_samples), window_samples].
    """
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
    """What `jnp.fft.rfft(frames, n=fft_size)` is, by a product with the matrix of the transform.

    Args:
      frames: [b, t, w], w at most fft_size.
      fft_size: points of the transform.
    """
    bins = fft_size // 2 + 1
    turns = jnp.outer(jnp.arange(frames.shape[-1]), jnp.arange(bins)) % fft_size  # exact integers
    angles = turns.astype(jnp.float32) * (2 * np.pi / fft_size)
    # The barrier keeps sines from being computed again inside the product, tile by tile.
    matrix = jax.lax.optimization_barrier(
        jnp.concatenate([jnp.cos(angles), -jnp.sin(angles)], axis=1)
    )
    # One bfloat16 pass would leave nothing of the weak bins, whose logarithms are compared.
    parts = jnp.einsum("btw,wf->btf", frames, matrix, precision=jax.lax.Precision.HIGHEST)
    return jax.lax.complex(parts[..., :bins], parts[..., bins:])


def spectrum_of_frames(frames: Float[Array, "b t w"], fft_size: int) -> Complex[Array, "b t f"]:
    """`jnp.fft.rfft(frames, n=fft_size)`, on a TPU by `spectrum_by_products`."""
    # The TPU compiler takes long over Fourier transforms, and makes slow ones (docs/tpu.md).
    return jax.lax.platform_dependent(
        frames,
        tpu=functools.partial(spectrum_by_products, fft_size=fft_size),
        default=functools.partial(jnp.fft.rfft, n=fft_size),
    )


def stft(
    samples: Float[Array, "b s"],
    fft_size: int,
    hop_samples: int,
    window_samples: int | None = None,
) -> Complex[Array, "b t f"]:
    """Short-time Fourier transform with a periodic Hann window.

    Args:
      samples: [b, s]; apply `zero_beyond` first if the items have unequal lengths.
      fft_size: points of the FFT; a shorter window is zero-padded on the right.
      hop_samples: samples between frames.
      window_samples: length of the window, at most fft_size; None means fft_size.

    Returns:
      complex64 [b, ceil(s / hop_samples), fft_size // 2 + 1].
    """
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
    """Natural logarithm of the mel power spectrogram.

    Args:
      samples: [b, s]; what lies at or beyond `lengths` counts as zero.
      lengths: int [b], valid samples.
      sample_rate_hz: rate of the audio.
      fft_size: points of the FFT.
      window_samples: length of the Hann window.
      hop_samples: samples between frames.
      bins: mel filters.
      floor: smallest mel power; less is raised to it before the logarithm.
      fmin_hz: lower edge of the first filter.
      fmax_hz: upper edge of the last filter; None means half the sample rate.

    Returns:
      Log-mel [b, ceil(s / hop_samples), bins], and the valid frames of each item [b],
      ceil(length / hop_samples). Frames beyond are finite but mean nothing.
    """
    spectrum = stft(zero_beyond(samples, lengths), fft_size, hop_samples, window_samples)
    # Squares of the parts, not abs()**2: its gradient is finite where a frame is silent.
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    filters = jnp.asarray(mel_filterbank(sample_rate_hz, fft_size, bins, fmin_hz, fmax_hz))
    mel = jnp.einsum("btf,fm->btm", power, filters)
    return jnp.log(jnp.maximum(mel, floor)), -(-lengths // hop_samples)


def warp_frequencies(
    mel: Float[Array, "b t m"], factors: Float[Array, " b"], sample_rate_hz: int
) -> Float[Array, "b t m"]:
    """A (log-)mel spectrogram as if every frequency of an item had been multiplied by a factor.

    What a vocal tract of another length does to a voice, roughly (Jaitly & Hinton 2013). A bin
    takes the value at its own frequency over the factor, interpolated between the two bins around
    that; beyond the outermost bins, theirs.

    Args:
      mel: [b, t, m], the bins of `mel_filterbank` from 0 Hz to half the sample rate.
      factors: float [b], above 0; 1 changes nothing.
      sample_rate_hz: rate of the audio.
    """
    bins = mel.shape[-1]
    centres = jnp.asarray(_mel_centres(sample_rate_hz, bins))
    places = jnp.arange(bins, dtype=jnp.float32)
    sources = jnp.interp(centres[None, :] / factors[:, None], centres, places)
    weights = jnp.maximum(0, 1 - jnp.abs(sources[:, None, :] - places[None, :, None]))
    return jnp.einsum("btm,bmn->btn", mel, weights)


def _mel_centres(sample_rate_hz: int, bins: int) -> np.ndarray:
    """Centre of each filter of `mel_filterbank` in Hz, float32 [bins]."""
    import librosa  # lazy, as above

    edges = librosa.mel_frequencies(bins + 2, fmin=0.0, fmax=sample_rate_hz / 2)
    return edges[1:-1].astype(np.float32)
