"""Losses of the codec (Paper: SoundStream section III-E, Eq. 1 to 7)."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.audio.spectral import mel_filterbank, stft
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import Judgement


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and reductions.

    Attributes:
      spectral_weight: of the multi-scale spectral loss (paper: 1).
      adversarial_weight: of the generator's hinge loss (paper: 1).
      feature_weight: of the distance between discriminator features (paper: 100).
      complex_weight: of `complex_distance`, which compares phases too (the paper has none: 0).
      commitment_weight: of the quantiser's commitment loss (the paper describes none).
      spectral_windows: window lengths in samples (paper: 2^6 to 2^11); multiples of 4, the hop is
        a quarter.
      mel_bins: mel bands of each scale (paper: 64).
      spectral_reduction: frame_mean averages over valid frames and over scales; sum adds up frames
        and scales of an example as printed, so the weight must then be about a thousandth. Both
        add up the bands (L1) or take the root of their squares (L2).
      log_floor: magnitude added before the logarithm.
    """

    spectral_weight: float = 1.0
    adversarial_weight: float = 1.0
    feature_weight: float = 100.0
    complex_weight: float = 0.0
    commitment_weight: float = 1.0
    spectral_windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    mel_bins: int = 64
    spectral_reduction: Literal["frame_mean", "sum"] = "frame_mean"
    log_floor: float = 1e-5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name.endswith("_weight") and getattr(self, field.name) < 0:
                raise InputError(f"{field.name} = {getattr(self, field.name)}: expected 0 or more")
        if not self.spectral_windows or any(w < 16 or w % 4 for w in self.spectral_windows):
            raise InputError(
                f"spectral_windows = {self.spectral_windows}: expected multiples of 4 from 16 on"
            )
        if self.mel_bins < 1 or not self.log_floor > 0:
            raise InputError(
                f"mel_bins = {self.mel_bins}, log_floor = {self.log_floor}: expected positive"
            )


def mel_magnitudes(
    samples: Float[Array, "b s"], sample_rate_hz: int, window: int, bins: int
) -> Float[Array, "b n m"]:
    """Mel bands of the magnitude spectrum, Hann window, hop of a quarter window.

    Returns:
      [b, ceil(s / hop), bins]; frame n is centred on samples n * hop to (n + 1) * hop - 1.
    """
    spectrum = stft(samples, window, window // 4)
    # The root has no gradient at 0, which digital silence reaches.
    magnitude = jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-12)
    return magnitude @ jnp.asarray(mel_filterbank(sample_rate_hz, window, bins))


def spectral_loss(
    target: Float[Array, "b s"],
    estimate: Float[Array, "b s"],
    lengths: Int[Array, " b"],
    sample_rate_hz: int,
    config: LossConfig,
) -> Float[Array, " b"]:
    """Multi-scale mel loss of each example (Eq. 6).

    For each window of s samples and each frame: L1 of the mel magnitudes plus sqrt(s / 2) times
    the L2 norm of the difference of their logarithms.

    Args:
      target: [b, s], zero beyond `lengths`.
      estimate: [b, s], zero beyond `lengths`.
      lengths: valid samples; frames of padding alone are left out.
      sample_rate_hz: of both.
      config: scales and reduction.
    """
    total = jnp.zeros(target.shape[0])
    for window in config.spectral_windows:
        a = mel_magnitudes(target, sample_rate_hz, window, config.mel_bins)
        b = mel_magnitudes(estimate, sample_rate_hz, window, config.mel_bins)
        ratio = jnp.log(a + config.log_floor) - jnp.log(b + config.log_floor)
        l1 = jnp.abs(a - b).sum(-1)
        l2 = jnp.sqrt((ratio**2).sum(-1) + 1e-12)
        count = -(-lengths // (window // 4))
        valid = jnp.arange(l1.shape[1])[None] < count[:, None]
        frames = jnp.where(valid, l1 + np.sqrt(window / 2) * l2, 0.0).sum(-1)
        total += frames if config.spectral_reduction == "sum" else frames / jnp.maximum(count, 1)
    return total if config.spectral_reduction == "sum" else total / len(config.spectral_windows)


_COMPLEX_WINDOWS = (256, 512, 1024)
_COMPLEX_EXPONENT = 0.5  # between the waveform itself (1) and its phases alone (0)


def complex_distance(
    target: Float[Array, "b s"], estimate: Float[Array, "b s"], lengths: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Distance of short-time spectra, phases included, with magnitudes compressed to their root.

    The sum over bands of |X - Y|, X and Y of compressed magnitude, as L1 of real and imaginary
    parts; mean over valid frames and over windows of 256, 512 and 1024 samples.

    Args:
      target: [b, s], zero beyond `lengths`.
      estimate: [b, s], zero beyond `lengths`.
      lengths: valid samples; frames of padding alone are left out.
    """

    def compress(samples, window):
        spectrum = stft(samples, window, window // 4)
        power = spectrum.real**2 + spectrum.imag**2 + 1e-4
        scale = power ** ((_COMPLEX_EXPONENT - 1) / 2) / np.sqrt(window)
        return spectrum.real * scale, spectrum.imag * scale

    total = jnp.zeros(target.shape[0])
    for window in _COMPLEX_WINDOWS:
        a, b = compress(target, window), compress(estimate, window)
        each = sum(jnp.abs(x - y).sum(-1) for x, y in zip(a, b, strict=True))
        count = -(-lengths // (window // 4))
        valid = jnp.arange(each.shape[1])[None] < count[:, None]
        total += jnp.where(valid, each, 0.0).sum(-1) / jnp.maximum(count, 1)
    return total / len(_COMPLEX_WINDOWS)


def discriminator_hinge(real: list[Judgement], fake: list[Judgement]) -> Float[Array, ""]:
    """Hinge loss of the discriminators, mean over discriminators, time and batch (Eq. 1).

    The printed factor is 1/K with K = 3 for four discriminators; the mean over all is meant.
    """
    each = [
        jax.nn.relu(1 - r.logits).mean() + jax.nn.relu(1 + f.logits).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return jnp.stack(each).mean()


def generator_hinge(fake: list[Judgement]) -> Float[Array, ""]:
    """Hinge loss of the generator, mean over discriminators, time and batch (Eq. 2)."""
    return jnp.stack([jax.nn.relu(1 - f.logits).mean() for f in fake]).mean()


def feature_distance(real: list[Judgement], fake: list[Judgement]) -> Float[Array, ""]:
    """L1 between features, mean over elements, layers and discriminators (Eq. 3)."""
    each = [
        jnp.stack(
            [jnp.abs(a - b).mean() for a, b in zip(r.features, f.features, strict=True)]
        ).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return jnp.stack(each).mean()


def si_sdr_db(
    target: Float[Array, "b s"], estimate: Float[Array, "b s"], lengths: Int[Array, " b"]
) -> Float[Array, " b"]:
    """Scale-invariant signal-to-distortion ratio in dB of the valid samples, means removed."""
    valid = jnp.arange(target.shape[1])[None] < lengths[:, None]
    count = jnp.maximum(lengths, 1)[:, None]

    def centre(x):
        x = jnp.where(valid, x, 0.0)
        return jnp.where(valid, x - x.sum(-1, keepdims=True) / count, 0.0)

    s, x = centre(target), centre(estimate)
    tiny = 1e-9
    scale = (s * x).sum(-1, keepdims=True) / ((s**2).sum(-1, keepdims=True) + tiny)
    signal = ((scale * s) ** 2).sum(-1)
    noise = ((x - scale * s) ** 2).sum(-1)
    return 10 * jnp.log10((signal + tiny) / (noise + tiny))
