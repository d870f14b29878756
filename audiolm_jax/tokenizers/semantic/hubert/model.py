"""HuBERT's encoder: convolutions over samples to 50 Hz, a convolution for positions, transformer.

Whatever lies beyond an item's end is kept out: convolutions over samples have no padding, the norm
over a recording counts its own frames, the convolution over frames sees zeros outside.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.nn.padding import standardize_over_time, valid_frames
from audiolm_jax.nn.stack import init_stack
from audiolm_jax.tokenizers.semantic.hubert.config import HubertConfig
from audiolm_jax.tokenizers.semantic.transformer import (
    FeedForward,
    SelfAttention,
    StackedEncoder,
    fill_to_frame,
    layer_norm,
)
from audiolm_jax.types import AudioBatch

INPUT_VARIANCE_FLOOR = 1e-7
GROUP_VARIANCE_FLOOR = 1e-5
CONV_NORM_EPSILON = 1e-5
_LAYOUT = ("NHC", "HIO", "NHC")

gelu = functools.partial(jax.nn.gelu, approximate=False)


class Convolution(nnx.Module):
    """A convolution without padding."""

    def __init__(self, kernel: int, channels_in: int, channels_out: int, stride: int, bias: bool):
        self.stride = stride
        self.kernel = nnx.Param(jnp.zeros((kernel, channels_in, channels_out)))
        self.bias = nnx.Param(jnp.zeros(channels_out)) if bias else None

    def __call__(self, x: Float[Array, "b t i"]) -> Float[Array, "b n o"]:
        """[b, t, i] -> [b, 1 + (t - kernel) // stride, o]; groups follow from the kernel."""
        kernel, stride = self.kernel[...], (self.stride,)
        groups = x.shape[2] // kernel.shape[1]
        x = jax.lax.conv_general_dilated(
            x, kernel, stride, "VALID", dimension_numbers=_LAYOUT, feature_group_count=groups
        )
        return x if self.bias is None else x + self.bias[...][None, None]


class SampleEncoder(nnx.Module):
    """Samples to frames: convolutions, GELU, and one of two kinds of norm."""

    def __init__(self, config: HubertConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        widths = config.conv_widths
        sizes = (config.conv_kernels, (1, *widths[:-1]), widths, config.conv_strides)
        self.convolutions = nnx.List(
            Convolution(*own, config.conv_bias) for own in zip(*sizes, strict=True)
        )
        if config.conv_norm == "group":
            self.scale = nnx.Param(jnp.ones(widths[0]))
            self.shift = nnx.Param(jnp.zeros(widths[0]))
        else:
            self.norms = nnx.List(layer_norm(width, CONV_NORM_EPSILON, rngs) for width in widths)

    def __call__(
        self, samples: Float[Array, "b s"], lengths: Int[Array, " b"]
    ) -> tuple[Float[Array, "b t c"], Int[Array, " b"]]:
        """Frames, and how many of each item are its own."""
        x = samples[:, :, None]
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            kernel = self.config.conv_kernels[i]
            lengths = jnp.maximum(0, 1 + (lengths - kernel) // convolution.stride)
            if self.config.conv_norm == "layer":
                x = self.norms[i](x)
            elif i == 0:
                own = valid_frames(lengths, x.shape[1])
                x = standardize_over_time(x, own, GROUP_VARIANCE_FLOOR)
                x = x * self.scale[...][None, None] + self.shift[...][None, None]
            x = gelu(x)
        return x, lengths


class PositionEncoder(nnx.Module):
    """What a wide convolution over the frames around tells of their position."""

    def __init__(self, config: HubertConfig) -> None:
        width, kernel = config.width, config.position_kernel
        if config.position_norm:
            self.scale = nnx.Param(jnp.ones(width))
            self.shift = nnx.Param(jnp.zeros(width))
        self.norm = config.position_norm
        self.padding = (kernel // 2, kernel - 1 - kernel // 2)
        self.convolution = Convolution(kernel, width // config.position_groups, width, 1, True)

    def __call__(self, x: Float[Array, "b t d"], valid: Bool[Array, "b t"]) -> Array:
        """To be added to x; frames that are not valid count as zero."""
        if self.norm:
            x = x * self.scale[...][None, None] + self.shift[...][None, None]
        x = jnp.where(valid[:, :, None], x, 0)
        return gelu(self.convolution(jnp.pad(x, ((0, 0), self.padding, (0, 0)))))


class TransformerBlock(nnx.Module):
    """Attention and feed-forward, each with a norm before it or after the sum."""

    def __init__(self, config: HubertConfig, *, rngs: nnx.Rngs) -> None:
        self.norm_first = config.norm_first
        self.attention = SelfAttention(config.width, config.heads, rngs=rngs)
        self.attention_norm = layer_norm(config.width, config.norm_epsilon, rngs)
        self.feed_forward = FeedForward(config.width, config.ff_width, gelu, rngs=rngs)
        self.norm = layer_norm(config.width, config.norm_epsilon, rngs)

    def __call__(self, x: Float[Array, "b t d"], valid: Bool[Array, "b t"]) -> Array:
        """Frames that are not valid reach no other."""
        if self.norm_first:
            x = x + self.attention(self.attention_norm(x), valid)
            return x + self.feed_forward(self.norm(x))
        x = self.attention_norm(x + self.attention(x, valid))
        return self.norm(x + self.feed_forward(x))


class Hubert(StackedEncoder):
    """Samples to features."""

    def __init__(self, config: HubertConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.samples = SampleEncoder(config, rngs=rngs)
        if config.project_norm:
            self.input_norm = layer_norm(config.conv_widths[-1], config.norm_epsilon, rngs)
        self.input = nnx.Linear(config.conv_widths[-1], config.width, rngs=rngs)
        self.positions = PositionEncoder(config)
        # Before the blocks, or behind them if they normalize their input.
        self.norm = layer_norm(config.width, config.norm_epsilon, rngs)
        make_block = lambda key: TransformerBlock(config, rngs=nnx.Rngs(params=key))  # noqa: E731
        self.blocks = init_stack(make_block, rngs.params(), config.layers)

    def finish(self, x: Float[Array, "b t d"], layer: str) -> Float[Array, "b t d"]:
        """As `StackedEncoder.finish`: the last layer may end in a normalization."""
        return self.norm(x) if layer == "output" else x

    def embed(
        self, audio: AudioBatch
    ) -> tuple[Float[Array, "b t d"], Bool[Array, "b t"], Int[Array, " b"]]:
        """As `StackedEncoder.embed`."""
        config, lengths = self.config, jnp.asarray(audio.lengths)
        samples = zero_beyond(jnp.asarray(audio.samples), lengths)
        if config.normalize_input:
            own = valid_frames(lengths, samples.shape[1])
            samples = standardize_over_time(samples[..., None], own, INPUT_VARIANCE_FLOOR)[..., 0]
        samples = jnp.pad(samples, ((0, 0), (0, max(config.reach_samples - samples.shape[1], 0))))
        x, frames = self.samples(samples, fill_to_frame(lengths, config.reach_samples))
        x = self.input(self.input_norm(x) if config.project_norm else x)
        valid = valid_frames(frames, x.shape[1])
        x = jnp.where(valid[:, :, None], x, 0)
        x = x + self.positions(x, valid)
        return x if config.norm_first else self.norm(x), valid, frames
