"""The discriminators: three waveform scales and one complex STFT (Paper: SoundStream III-D)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from audiolm_jax.audio.spectral import hann_window, stft
from audiolm_jax.nn.conv import (
    NormalDraws,
    add_channels,
    convolve,
    draw_kernel,
    fill_channels,
    same_padding,
)
from audiolm_jax.nn.partition import constrain
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    FREQUENCY_STRIDE,
    GROUP_CHANNELS,
    DiscriminatorConfig,
    Dtype,
    Normalization,
)

_LANES = 128  # of a TPU's registers
# (width multiplier of the first convolution, of the second one over it, (time, frequency) stride).
_STFT_BLOCKS = (
    (1, 2, (1, 2)),
    (2, 2, (2, 2)),
    (4, 1, (1, 2)),
    (4, 2, (2, 2)),
    (8, 1, (1, 2)),
    (8, 2, (2, 2)),
)


class DiscriminatorOutput(NamedTuple):
    """What one discriminator says of a batch."""

    logits: Array  # float32 [b, t_k], positive for real
    # Activations of each layer but the last, [b, t, c] or [b, t, f, c], as they were computed.
    features: list[Array]


class NormalizedConv(nnx.Module):
    """SAME convolution over one or two axes with a choice of normalization. Every `joined_groups`
    groups (a divisor) are computed together, with zeros between them, to save time. Of the last
    axis `folded` neighbours, a multiple of its stride, come side by side as channels, and go out so
    divided by the stride. Arithmetic is in the dtype of what is given, that of normalizations
    float32."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_shape: tuple[int, ...],
        strides: tuple[int, ...],
        *,
        groups: int = 1,
        joined_groups: int = 1,
        folded: int = 1,
        normalization: Normalization = "none",
        draws: NormalDraws,
    ):
        self.kernel = draw_kernel(draws, (*kernel_shape, channels_in // groups, channels_out))
        self.bias = fill_channels(channels_out, 0.0)
        if normalization != "none":
            self.gain = fill_channels(channels_out, 1.0)
        self.strides, self.normalization = strides, normalization
        self.groups, self.joined_groups, self.folded = groups, joined_groups, folded

    def __call__(self, x: Float[Array, "b *space i"]) -> Float[Array, "b *strided o"]:
        """Each axis shrinks to ceil(size / stride); of a folded one the size stays."""
        kernel = self.kernel[...]
        wide = (None,) * (x.ndim - 1)
        if self.normalization == "weight":
            axes = tuple(range(kernel.ndim - 1))
            norm = jnp.sqrt(jnp.sum(kernel**2, axis=axes) + 1e-12)
            kernel = kernel * (self.gain[...] / norm)[wide]
        groups = self.groups // self.joined_groups
        if self.joined_groups > 1:
            kernel = _join_groups(kernel, self.groups, self.joined_groups)
        strides, side_by_side = self.strides, 1
        padding = same_padding(
            (*x.shape[1:-2], self.folded * x.shape[-2]), kernel.shape[:-2], strides
        )
        if self.folded > 1:
            side_by_side = self.folded // strides[-1]
            kernel, last = _fold(kernel, self.folded, strides[-1], padding[-1][0])
            strides, padding = (*strides[:-1], 1), (*padding[:-1], last)
        kernel = kernel.astype(x.dtype)
        if groups == 1:
            x = convolve(x, kernel, strides, padding)
        else:
            dims = ("NHC", "HIO", "NHC")
            x = jax.lax.conv_general_dilated(
                x, kernel, strides, padding, dimension_numbers=dims, feature_group_count=groups
            )
        x = add_channels(x, jnp.tile(self.bias[...], side_by_side))
        if self.normalization == "layer":
            dtype, x = x.dtype, x.astype(jnp.float32)
            axes = tuple(range(1, x.ndim))
            x = x - x.mean(axes, keepdims=True)
            variance = (x**2).mean(axes, keepdims=True)
            # Digital silence stays as it is: dividing by its deviation would blow gradients up.
            gain = jnp.where(variance > 1e-5, jax.lax.rsqrt(variance + 1e-5), 1.0)
            x = (x * gain * jnp.tile(self.gain[...], side_by_side)[wide]).astype(dtype)
        return x


def _join_groups(
    kernel: Float[Array, "*k i o"], groups: int, joined: int
) -> Float[Array, "*k ji o"]:
    """The kernel of groups / joined groups: zero where input and output are of unequal groups."""
    space = kernel.ndim - 2
    member = np.arange(groups).repeat(kernel.shape[-1] // groups) % joined
    same = (np.arange(joined)[:, None] == member).astype(np.float32)  # [j, o]
    spread = kernel[..., None, :, :] * same.reshape(*(1,) * space, joined, 1, -1)
    return spread.reshape(*kernel.shape[:-2], joined * kernel.shape[-2], kernel.shape[-1])


def _fold(
    kernel: Float[Array, "*k i o"], folded: int, stride: int, before: int
) -> tuple[Float[Array, "*f ni mo"], tuple[int, int]]:
    """The kernel, and the padding of the last axis, of a convolution of stride 1 whose channels are
    those of n = `folded` neighbours and give those of m = n / stride; `before` is the padding
    before the axis. What a kernel does not reach is zero."""
    taps, given = kernel.shape[-3], folded // stride
    first, last = -before // folded, (stride * (given - 1) - before + taps - 1) // folded
    place = np.zeros((taps, last - first + 1, folded, given), np.float32)
    for output in range(given):
        for tap in range(taps):
            step, within = divmod(stride * output - before + tap, folded)
            place[tap, step - first, within, output] = 1
    place = place[(None,) * (kernel.ndim - 3)][..., None, :, None]
    wide = kernel[..., :, None, None, :, None, :] * place
    wide = wide.sum(-6)  # [*k, steps, n, i, m, o], a single number in each sum
    shape = (folded * kernel.shape[-2], given * kernel.shape[-1])
    return wide.reshape(*kernel.shape[:-3], last - first + 1, *shape), (-first, last)


def _activate(x: Array) -> Array:
    return jax.nn.leaky_relu(x, 0.2)


class WaveDiscriminator(nnx.Module):
    """The MelGAN stack on one scale: k15, four grouped k41 of stride 4, k5, k3 to logits."""

    def __init__(
        self,
        config: DiscriminatorConfig,
        scale: int,
        dtype: Dtype = "float32",
        *,
        draws: NormalDraws,
    ):
        most = {
            "grouped": GROUP_CHANNELS,
            "lane_blocks": _LANES,
            "block_diagonal": config.wave_max_width,
        }[config.grouped_convolution]
        normalization = config.wave_normalization
        conv = functools.partial(NormalizedConv, normalization=normalization, draws=draws)
        width = config.wave_width
        layers = [conv(1, width, (15,), (1,))]
        for _ in range(4):
            groups, wider = width // GROUP_CHANNELS, min(4 * width, config.wave_max_width)
            joined = min(groups, most // GROUP_CHANNELS)
            layers.append(conv(width, wider, (41,), (4,), groups=groups, joined_groups=joined))
            width = wider
        self.layers = nnx.List([*layers, conv(width, width, (5,), (1,))])
        self.last = conv(width, 1, (3,), (1,))
        self.scale, self.dtype = scale, jnp.dtype(dtype)

    def __call__(self, samples: Float[Array, "b s"]) -> DiscriminatorOutput:
        """Of the audio at 1 / scale of its rate."""
        x = samples[..., None]
        for _ in range(self.scale.bit_length() - 1):
            x = nnx.avg_pool(x, (4,), (2,), "SAME")
        x, features = x.astype(self.dtype), []
        for layer in self.layers:
            x = constrain(_activate(layer(x)), "batch", "time", None)
            features.append(x)
        return DiscriminatorOutput(self.last(x)[..., 0].astype(jnp.float32), features)


class StftBlock(nnx.Module):
    """3 x 3 convolution, strided convolution, and a strided pointwise skip."""

    def __init__(
        self,
        channels_in: int,
        width: int,
        channels_out: int,
        strides: tuple[int, int],
        normalization: Normalization,
        folded: int = 1,
        *,
        draws: NormalDraws,
    ):
        conv = functools.partial(NormalizedConv, folded=folded, draws=draws)
        normalized = functools.partial(conv, normalization=normalization)
        self.first = normalized(channels_in, width, (3, 3), (1, 1))
        self.second = normalized(width, channels_out, (strides[0] + 2, strides[1] + 2), strides)
        self.skip = conv(channels_in, channels_out, (1, 1), strides)

    def __call__(self, x: Float[Array, "b t f i"]) -> Float[Array, "b n m o"]:
        """Divides time and frequency by the strides; of folded bins, how many are folded."""
        return self.second(_activate(self.first(x))) + self.skip(x)


class StftDiscriminator(nnx.Module):
    """2-D convolutions over the real and imaginary parts of an STFT (the paper's Fig. 4)."""

    def __init__(
        self, config: DiscriminatorConfig, dtype: Dtype = "float32", *, draws: NormalDraws
    ):
        norm, width = config.stft_normalization, config.stft_width
        folded = _folded_bins(width) if config.stft_convolution == "lane_blocks" else 1
        self.folded, strides = folded, (1, 1)
        self.first = NormalizedConv(
            2, width, (7, 7), strides, folded=folded, normalization=norm, draws=draws
        )
        blocks = []
        for multiplier, growth, strides in _STFT_BLOCKS:
            inner = multiplier * config.stft_width
            blocks.append(
                StftBlock(width, inner, inner * growth, strides, norm, folded, draws=draws)
            )
            width, folded = inner * growth, max(folded // strides[1], 1)
        self.blocks = nnx.List(blocks)
        bands = config.stft_window // 2 // FREQUENCY_STRIDE
        self.last = NormalizedConv(width * bands, 1, (1,), (1,), draws=draws)
        self.window, self.hop = config.stft_window, config.stft_hop
        self.scale = 2 / float(hann_window(self.window).sum()) ** 0.5  # loud speech comes near 1
        self.dtype = jnp.dtype(dtype)

    def __call__(self, samples: Float[Array, "b s"]) -> DiscriminatorOutput:
        """Of the complex spectrogram, its top bin left out so that W / 2 remain."""
        x = stft(samples, self.window, self.hop)[..., :-1] * self.scale
        x = jnp.stack([x.real, x.imag], -1).astype(self.dtype)
        x = x.reshape(*x.shape[:2], x.shape[2] // self.folded, -1)
        x = _activate(self.first(x))
        features = [x]
        for block in self.blocks:
            x = constrain(_activate(block(x)), "batch", "time", None, None)
            features.append(x)
        joined = x.reshape(*x.shape[:2], -1)  # a 1 x (F / 64) convolution without padding
        return DiscriminatorOutput(self.last(joined)[..., 0].astype(jnp.float32), features)


def _folded_bins(channels: int) -> int:
    """How many neighbouring bins fill the lanes, a power of two that the strides can take back."""
    return min(2 ** (max(_LANES // channels, 1).bit_length() - 1), FREQUENCY_STRIDE)


class Discriminators(nnx.Module):
    """All of them: the STFT discriminator first, then the waveform scales."""

    def __init__(
        self, config: DiscriminatorConfig, dtype: Dtype = "float32", *, draws: NormalDraws
    ):
        self.stft = StftDiscriminator(config, dtype, draws=draws)
        scales = config.wave_scales
        waves = [WaveDiscriminator(config, scale, dtype, draws=draws) for scale in scales]
        self.waves = nnx.List(waves)

    def __call__(self, samples: Float[Array, "b s"]) -> list[DiscriminatorOutput]:
        """One output each; `samples` must be free of NaN (padding silenced)."""
        return [self.stft(samples), *(wave(samples) for wave in self.waves)]
