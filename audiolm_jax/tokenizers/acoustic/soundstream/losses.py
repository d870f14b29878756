"""Losses of the codec (Paper: SoundStream section III-E, Eq. 1 to 7)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.audio.spectral import mel_filterbank, stft, zero_beyond
from audiolm_jax.tokenizers.acoustic.soundstream.config import LossConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import DiscriminatorOutput

Outputs = list[DiscriminatorOutput]  # of each discriminator

_COMPLEX_WINDOWS = (256, 512, 1024)
_COMPLEX_EXPONENT = 0.5  # between the waveform itself (1) and its phases alone (0)


def mel_magnitudes(
    samples: Float[Array, "b s"], sample_rate_hz: int, window: int, bins: int
) -> Float[Array, "b n m"]:
    """Mel bands of the magnitude spectrum, hop of a quarter window."""
    spectrum = stft(samples, window, window // 4)
    # The root has no gradient at 0, which digital silence reaches.
    magnitude = jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-12)
    return magnitude @ jnp.asarray(mel_filterbank(sample_rate_hz, window, bins))


def _sum_over_valid(
    x_BxT: Float[Array, "b t"], lengths: Int[Array, " b"], hop_samples: int
) -> tuple[Float[Array, " b"], Int[Array, " b"]]:
    """Sums over the frames that hold any sample within the length, and how many those are."""
    count = -(-lengths // hop_samples)
    return zero_beyond(x_BxT, count).sum(-1), count


def spectral_loss(
    target: Float[Array, "b s"],
    estimate: Float[Array, "b s"],
    lengths: Int[Array, " b"],
    sample_rate_hz: int,
    config: LossConfig,
) -> Float[Array, " b"]:
    """Multi-scale mel loss of each example (Eq. 6); both sounds are zero beyond `lengths`.

    For each window of s samples and each frame: L1 of the mel magnitudes plus sqrt(s / 2) times
    the L2 norm of the difference of their logarithms. Frames of padding alone are left out.
    """
    total = jnp.zeros(target.shape[0])
    for window in config.spectral_windows:
        a_BxTxM = mel_magnitudes(target, sample_rate_hz, window, config.mel_bins)
        b_BxTxM = mel_magnitudes(estimate, sample_rate_hz, window, config.mel_bins)
        ratio_BxTxM = jnp.log(a_BxTxM + config.log_floor) - jnp.log(b_BxTxM + config.log_floor)
        l1_BxT = jnp.abs(a_BxTxM - b_BxTxM).sum(-1)
        l2_BxT = jnp.sqrt((ratio_BxTxM**2).sum(-1) + 1e-12)
        frames, count = _sum_over_valid(l1_BxT + np.sqrt(window / 2) * l2_BxT, lengths, window // 4)
        total += frames if config.spectral_reduction == "sum" else frames / jnp.maximum(count, 1)
    return total if config.spectral_reduction == "sum" else total / len(config.spectral_windows)


def complex_distance(
    target: Float[Array, "b s"], estimate: Float[Array, "b s"], lengths: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Distance of short-time spectra, phases included, with magnitudes compressed to their root.

    The sum over bands of |X - Y| as L1 of real and imaginary parts; mean over valid frames and over
    windows of 256, 512 and 1024 samples. Both sounds are zero beyond `lengths`.
    """

    def compress(samples, window):
        spectrum = stft(samples, window, window // 4)
        power = spectrum.real**2 + spectrum.imag**2 + 1e-4
        scale = power ** ((_COMPLEX_EXPONENT - 1) / 2) / np.sqrt(window)
        return spectrum.real * scale, spectrum.imag * scale

    total = jnp.zeros(target.shape[0])
    for window in _COMPLEX_WINDOWS:
        (a_re, a_im), (b_re, b_im) = compress(target, window), compress(estimate, window)
        l1_BxT = jnp.abs(a_re - b_re).sum(-1) + jnp.abs(a_im - b_im).sum(-1)
        frames, count = _sum_over_valid(l1_BxT, lengths, window // 4)
        total += frames / jnp.maximum(count, 1)
    return total / len(_COMPLEX_WINDOWS)


def discriminator_hinge(real: Outputs, fake: Outputs) -> Float[Array, ""]:
    """Hinge loss of the discriminators, mean over them, time and batch (Eq. 1, which prints K = 3
    for four discriminators)."""
    each = [
        jax.nn.relu(1 - r.logits).mean() + jax.nn.relu(1 + f.logits).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return jnp.stack(each).mean()


def generator_hinge(fake: Outputs) -> Float[Array, ""]:
    """Hinge loss of the generator, mean over discriminators, time and batch (Eq. 2)."""
    return jnp.stack([jax.nn.relu(1 - f.logits).mean() for f in fake]).mean()


def feature_distance(real: Outputs, fake: Outputs) -> Float[Array, ""]:
    """L1 between features, mean over elements, layers and discriminators (Eq. 3); in float32."""

    def apart(a: Array, b: Array) -> Float[Array, ""]:
        return jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)).mean()

    def distance(r: DiscriminatorOutput, f: DiscriminatorOutput) -> Float[Array, ""]:
        layers = zip(r.features, f.features, strict=True)
        return jnp.stack([apart(a, b) for a, b in layers]).mean()

    return jnp.stack([distance(r, f) for r, f in zip(real, fake, strict=True)]).mean()


def si_sdr_db(
    target: Float[Array, "b s"], estimate: Float[Array, "b s"], lengths: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Scale-invariant signal-to-distortion ratio in dB of the valid samples, means removed."""
    count = jnp.maximum(lengths, 1)[:, None]

    def center(x):
        x = zero_beyond(x, lengths)
        return zero_beyond(x - x.sum(-1, keepdims=True) / count, lengths)

    s, x, tiny = center(target), center(estimate), 1e-9
    scale = (s * x).sum(-1, keepdims=True) / ((s**2).sum(-1, keepdims=True) + tiny)
    signal = ((scale * s) ** 2).sum(-1)
    noise = ((x - scale * s) ** 2).sum(-1)
    return 10 * jnp.log10((signal + tiny) / (noise + tiny))
