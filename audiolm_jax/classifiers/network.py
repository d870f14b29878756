"""The network: log-mel spectrogram, blocks of two convolutions, mean over time and frequency.

A block is a 3 x 1 convolution along time and a 1 x 3 one along frequency, each with ReLU and batch
normalization (Paper: AudioLM IV-D). Where channels grow, a 2 x 2 max-pool stands in front of the
block. The paper does not say what joins the cells: here their mean, and a linear layer.

Frames beyond an item's length are zero before each convolution, as beyond the edges, are in no
maximum, mean or moment: an item gets the logits that it would get alone.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.audio.spectral import log_mel_spectrogram
from audiolm_jax.classifiers.config import ClassifierConfig
from audiolm_jax.nn.conv import NormalDraws, convolve, draw_kernel, fill_channels, same_padding
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.partition import constrain

EPSILON = 1e-5  # beside the variance

# By normalization, such as "block_0.time": "mean" and "variance", float32 [channels].
Moments = Mapping[str, Mapping[str, Array]]


class Outputs(NamedTuple):
    """What the network makes of a batch."""

    logits: Array  # float32 [b, classes]
    moments: Moments  # those it normalized by


class NormalizedConv(nnx.Module):
    """SAME convolution of stride 1, ReLU, batch normalization."""

    def __init__(
        self, channels_in: int, channels: int, extent: tuple[int, int], draws: NormalDraws
    ):
        self.kernel = draw_kernel(draws, (*extent, channels_in, channels))
        self.bias = fill_channels(channels, 0.0)
        self.scale = fill_channels(channels, 1.0)
        self.offset = fill_channels(channels, 0.0)

    def __call__(
        self,
        x: Float[Array, "b t f i"],
        valid: Bool[Array, "b t"],
        moments: Mapping[str, Array] | None,
    ) -> tuple[Float[Array, "b t f o"], Mapping[str, Array]]:
        """Frames that are not valid come out as zeros; moments None are those of the batch."""
        kernel = self.kernel[...]
        padding = same_padding(x.shape[1:-1], kernel.shape[:-2], (1, 1))
        x = convolve(x, kernel, (1, 1), padding)
        x = jax.nn.relu(x + _wide(self.bias[...]))
        x = constrain(x, "batch", "time", None, "channels_out")
        if moments is None:
            moments = moments_of(x, valid)
        gain = jax.lax.rsqrt(moments["variance"] + EPSILON) * self.scale[...]
        x = (x - _wide(moments["mean"])) * _wide(gain) + _wide(self.offset[...])
        return jnp.where(valid[:, :, None, None], x, 0), moments


class Block(nnx.Module):
    """A convolution along time and one along frequency."""

    def __init__(self, channels_in: int, channels: int, draws: NormalDraws):
        self.time = NormalizedConv(channels_in, channels, (3, 1), draws)
        self.frequency = NormalizedConv(channels, channels, (1, 3), draws)


class Classifier(nnx.Module):
    """Logits of crops."""

    def __init__(self, config: ClassifierConfig, *, draws: NormalDraws):
        config.check_classes()
        widths = (1, *config.channels)
        pairs = itertools.pairwise(widths)
        self.blocks = nnx.List([Block(inner, outer, draws) for inner, outer in pairs])
        self.kernel = draw_kernel(draws, (config.channels[-1], len(config.classes)))
        self.bias = fill_channels(len(config.classes), 0.0)
        self.config = config

    def __call__(
        self,
        samples: Float[Array, "b s"],
        lengths: Int[Array, " b"],
        moments: Moments | None = None,
    ) -> Outputs:
        """Of crops of any one length; moments None are those of the batch, over all devices."""
        mel, lengths = features(samples, lengths, self.config)
        return self.classify(mel, lengths, moments)

    def classify(
        self,
        mel: Float[Array, "b t m"],
        lengths: Int[Array, " b"],
        moments: Moments | None = None,
    ) -> Outputs:
        """Of `features`."""
        x, used = cells(self, mel, lengths, moments)
        frames = jnp.maximum(pooled_lengths(lengths, self.config), 1)
        mean = x.sum((1, 2)) / (frames * x.shape[2])[:, None]
        return Outputs(mean @ self.kernel[...] + self.bias[...][None], used)


def cells(
    network: Classifier,
    mel: Float[Array, "b t m"],
    lengths: Int[Array, " b"],
    moments: Moments | None = None,
) -> tuple[Float[Array, "b u v c"], Moments]:
    """What the last block gives, [b, frames, bands, channels], and the moments it took."""
    x, used = mel[..., None], {}
    valid = valid_frames(lengths, x.shape[1])
    x = jnp.where(valid[:, :, None, None], x, 0)
    for i, (block, is_pooled) in enumerate(
        zip(network.blocks, network.config.is_pooled, strict=True)
    ):
        if is_pooled:
            x, lengths = halve(x, valid), -(-lengths // 2)
            valid = valid_frames(lengths, x.shape[1])
            x = jnp.where(valid[:, :, None, None], x, 0)
        for name, conv in (("time", block.time), ("frequency", block.frequency)):
            key = f"block_{i}.{name}"
            x, used[key] = conv(x, valid, None if moments is None else moments[key])
    return x, used


def features(
    samples: Float[Array, "b s"], lengths: Int[Array, " b"], config: ClassifierConfig
) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
    """Log-mel spectrogram above its floor, so that silence is 0, and the frames of each item."""
    mel, frames = log_mel_spectrogram(
        samples,
        lengths,
        sample_rate_hz=config.sample_rate_hz,
        fft_size=config.mel_fft_size,
        window_samples=config.mel_window_samples,
        hop_samples=config.mel_hop_samples,
        bins=config.mel_bins,
        floor=config.mel_floor,
    )
    return mel - jnp.log(config.mel_floor), frames


def moments_of(x: Float[Array, "b t f c"], valid: Bool[Array, "b t"]) -> Mapping[str, Array]:
    """Mean and variance of each channel over the valid frames of the whole batch: under a mesh the
    sums are over all devices, so the result does not depend on it."""
    inside = valid[:, :, None, None]
    count = jnp.maximum(valid.sum() * x.shape[2], 1)
    mean = jnp.sum(x, axis=(0, 1, 2), where=inside) / count
    square = jnp.square(x - _wide(mean))
    return {"mean": mean, "variance": jnp.sum(square, axis=(0, 1, 2), where=inside) / count}


def empty_moments(config: ClassifierConfig) -> dict[str, dict[str, Array]]:
    """Those of no batch: mean 0, variance 1."""
    return {
        f"block_{i}.{name}": {"mean": jnp.zeros(width), "variance": jnp.ones(width)}
        for i, width in enumerate(config.channels)
        for name in ("time", "frequency")
    }


def pooled_lengths(lengths: Int[Array, " b"], config: ClassifierConfig) -> Int[Array, " b"]:
    """Valid frames behind the last block, of those in front of the first."""
    for _ in range(sum(config.is_pooled)):
        lengths = -(-lengths // 2)
    return lengths


def halve(x: Float[Array, "b t f c"], valid: Bool[Array, "b t"]) -> Float[Array, "b u v c"]:
    """Maximum of each 2 x 2 cell, over what is valid; an odd last row counts as a cell."""
    # Chosen by comparison: the gradient of `max` looks for what equals the maximum, and does not
    # find it where the compiler computed it a second time and rounded otherwise.
    x = jnp.where(valid[:, :, None, None], x, -jnp.inf)
    for axis in (1, 2):
        edges = [(0, x.shape[axis] % 2 if i == axis else 0) for i in range(4)]
        x = jnp.pad(x, edges, constant_values=-jnp.inf)
        x = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        first, second = (jax.lax.index_in_dim(x, i, axis + 1, keepdims=False) for i in (0, 1))
        x = jnp.where(second > first, second, first)
    return x


def _wide(x: Float[Array, " c"]) -> Float[Array, "1 1 1 c"]:
    return x[None, None, None]
