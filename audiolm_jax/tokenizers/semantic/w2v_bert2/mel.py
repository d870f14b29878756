"""Log-mel frames as Kaldi computes them, which is what the public encoder was trained on."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.audio.spectral import spectrum_of_frames
from audiolm_jax.tokenizers.semantic.w2v_bert2.config import (
    MEL_HOP_SAMPLES,
    MEL_WINDOW_SAMPLES,
    SAMPLE_RATE_HZ,
)

FFT_SIZE = 512
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
FULL_SCALE = 2.0**15  # Kaldi takes samples as 16-bit integers
POWER_FLOOR = float(np.finfo(np.float32).eps)


@functools.lru_cache(maxsize=8)
def kaldi_filterbank(bins: int) -> Float[np.ndarray, "f m"]:
    """Filters that are triangles on the mel scale itself, not in Hz; float32 [257, bins]."""
    lowest, highest = _mel(np.array([LOWEST_HZ, SAMPLE_RATE_HZ / 2]))
    edges = np.linspace(lowest, highest, bins + 2)
    places = _mel(np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE_HZ / FFT_SIZE)[:, None]
    low, center, high = edges[None, :-2], edges[None, 1:-1], edges[None, 2:]
    rising, falling = (places - low) / (center - low), (high - places) / (high - center)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(frequencies_hz: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return 1127.0 * np.log1p(frequencies_hz / 700.0)


def log_mel_frames(
    samples: Float[Array, "b s"], lengths: Int[Array, " b"], bins: int
) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
    """Log-mel spectrum of each window wholly within the samples (at least 400); those of items."""
    hop, size = MEL_HOP_SAMPLES, MEL_WINDOW_SAMPLES
    count = 1 + (samples.shape[1] - size) // hop
    cells = -(-size // hop)
    padded = jnp.pad(samples * FULL_SCALE, ((0, 0), (0, (count + cells) * hop - samples.shape[1])))
    padded = padded[:, : (count + cells) * hop].reshape(samples.shape[0], -1, hop)
    window = jnp.concatenate([padded[:, i : i + count] for i in range(cells)], axis=-1)[..., :size]
    window = window - window.mean(axis=-1, keepdims=True)
    # The first sample has none before it, and stands for that itself.
    before = jnp.concatenate([window[..., :1], window[..., :-1]], axis=-1)
    povey = (np.hanning(size) ** 0.85).astype(np.float32)
    window = (window - PREEMPHASIS * before) * jnp.asarray(povey)[None, None]
    spectrum = spectrum_of_frames(window, FFT_SIZE)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    mel = jnp.einsum("btf,fm->btm", power, jnp.asarray(kaldi_filterbank(bins)))
    frames = jnp.maximum(0, 1 + (lengths - size) // hop)
    return jnp.log(jnp.maximum(mel, POWER_FLOOR)), frames
