"""Encoder, decoder and residual quantizer of the Descript Audio Codec, for inference."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.conv import CausalConv, NormalDraws, draw_kernel
from audiolm_jax.tokenizers.acoustic.dac.config import (
    DILATIONS,
    EDGE_KERNEL,
    LATENT_KERNEL,
    RESIDUAL_KERNEL,
    DacConfig,
)
from audiolm_jax.tokenizers.acoustic.dac.layers import (
    CenteredConv,
    CenteredDownsample,
    CenteredUpsample,
    Snake,
    Span,
)


class ResidualUnit(nnx.Module):
    """Dilated convolution of kernel 7 and a pointwise one around a skip; Snake before each."""

    def __init__(self, width: int, dilation: int, *, draws: NormalDraws):
        self.snake1 = Snake(width)
        self.dilated = CenteredConv(width, width, RESIDUAL_KERNEL, dilation=dilation, draws=draws)
        self.snake2 = Snake(width)
        self.pointwise = CausalConv(width, width, 1, draws=draws)

    def __call__(self, x: Float[Array, "b t c"], span: Span) -> Float[Array, "b t c"]:
        """Keeps the shape."""
        return x + self.pointwise(self.snake2(self.dilated(self.snake1(x), span)))


def _residual_units(width: int, draws: NormalDraws) -> nnx.List:
    return nnx.List([ResidualUnit(width, dilation, draws=draws) for dilation in DILATIONS])


class EncoderStage(nnx.Module):
    """Residual units at the input width, then down-sampling to twice the width."""

    def __init__(self, width_in: int, width_out: int, stride: int, *, draws: NormalDraws):
        self.units = _residual_units(width_in, draws)
        self.snake = Snake(width_in)
        self.down = CenteredDownsample(width_in, width_out, stride, draws=draws)

    def __call__(self, x: Float[Array, "b t i"], span: Span) -> tuple[Float[Array, "b n o"], Span]:
        """As `CenteredDownsample`."""
        for unit in self.units:
            x = unit(x, span)
        return self.down(self.snake(x), span)


class DecoderStage(nnx.Module):
    """Up-sampling to half the width, then residual units."""

    def __init__(self, width_in: int, width_out: int, stride: int, *, draws: NormalDraws):
        self.snake = Snake(width_in)
        self.up = CenteredUpsample(width_in, width_out, stride, draws=draws)
        self.units = _residual_units(width_out, draws)

    def __call__(self, x: Float[Array, "b t i"], span: Span) -> tuple[Float[Array, "b n o"], Span]:
        """As `CenteredUpsample`."""
        x, span = self.up(self.snake(x), span)
        for unit in self.units:
            x = unit(x, span)
        return x, span


class Encoder(nnx.Module):
    """Waveform to latents."""

    def __init__(self, config: DacConfig, *, draws: NormalDraws):
        widths = config.encoder_widths
        self.first = CenteredConv(1, widths[0], EDGE_KERNEL, draws=draws)
        sizes = zip(widths, widths[1:], config.strides, strict=False)
        self.stages = nnx.List([EncoderStage(*size, draws=draws) for size in sizes])
        self.snake = Snake(widths[-1])
        self.last = CenteredConv(widths[-1], config.latent_width, LATENT_KERNEL, draws=draws)

    def __call__(self, samples: Float[Array, "b s"], span: Span) -> Float[Array, "b t d"]:
        """Windows and spans of whole frames, in samples; latents outside the span mean nothing."""
        x = self.first(samples[..., None], span)
        for stage in self.stages:
            x, span = stage(x, span)
        return self.last(self.snake(x), span)


class Decoder(nnx.Module):
    """Latents to waveform."""

    def __init__(self, config: DacConfig, *, draws: NormalDraws):
        widths = config.decoder_widths
        self.first = CenteredConv(config.latent_width, widths[0], EDGE_KERNEL, draws=draws)
        sizes = zip(widths, widths[1:], config.strides[::-1], strict=False)
        self.stages = nnx.List([DecoderStage(*size, draws=draws) for size in sizes])
        self.snake = Snake(widths[-1])
        self.last = CenteredConv(widths[-1], 1, EDGE_KERNEL, draws=draws)

    def __call__(self, latents: Float[Array, "b t d"], span: Span) -> Float[Array, "b s"]:
        """Samples [b, t * hop] in [-1, 1] of windows with spans in frames; zero outside the
        recording and on its last `DacConfig.decoder_shortfall` samples."""
        x = self.first(latents, span)
        for stage in self.stages:
            x, span = stage(x, span)
        return span.keep(jnp.tanh(self.last(self.snake(x), span)))[..., 0]


class Quantizer(nnx.Module):
    """Residual quantizer whose levels look codes up in a narrow space, by direction alone.

    Parameters of all levels are stacked: `in_kernel` [q, d, w], `in_bias` [q, w], `codebooks`
    [q, n, w], `out_kernel` [q, w, d], `out_bias` [q, d].
    """

    def __init__(self, config: DacConfig, *, draws: NormalDraws):
        levels, narrow, wide = config.levels, config.codebook_width, config.latent_width
        self.in_kernel = draw_kernel(draws, (levels, wide, narrow), fan_in=wide)
        self.in_bias = nnx.Param(jnp.zeros((levels, narrow)))
        self.codebooks = draw_kernel(draws, (levels, config.codebook_size, narrow), fan_in=1)
        self.out_kernel = draw_kernel(draws, (levels, narrow, wide), fan_in=narrow)
        self.out_bias = nnx.Param(jnp.zeros((levels, wide)))

    def encode(self, latents: Float[Array, "b t d"]) -> Int[Array, "b t q"]:
        """Codes of each latent, level by level on what the levels before leave over."""

        def level_step(residual_FxD, level):
            in_kernel_DxW, in_bias_W, codebook_NxW, out_kernel_WxD, out_bias_D = level
            narrow_FxW = residual_FxD @ in_kernel_DxW + in_bias_W[None]
            # The code of largest cosine; the length of the latent does not change the order.
            codes_F = jnp.argmax(narrow_FxW @ _normalized(codebook_NxW).T, axis=-1)
            coded_FxD = codebook_NxW[codes_F] @ out_kernel_WxD + out_bias_D[None]
            return residual_FxD - coded_FxD, codes_F

        out = (self.out_kernel, self.out_bias)
        levels = tuple(x[...] for x in (self.in_kernel, self.in_bias, self.codebooks, *out))
        _, codes_QxF = jax.lax.scan(level_step, latents.reshape(-1, latents.shape[-1]), levels)
        return codes_QxF.T.reshape(*latents.shape[:2], -1)

    def decode(self, codes: Int[Array, "b t q"]) -> Float[Array, "b t d"]:
        """Latents as the sum over the levels given, the first of all."""
        total = jnp.zeros((1, 1, self.out_bias.shape[-1]))
        for level in range(codes.shape[-1]):
            kernel, bias = self.out_kernel[...][level], self.out_bias[...][level]
            narrow = self.codebooks[...][level][codes[..., level]]
            total = total + (narrow @ kernel + bias[None, None])
        return total


def _normalized(vectors: Float[Array, "n w"]) -> Float[Array, "n w"]:
    """Each of length 1; one of length 0 stays as it is."""
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


class Dac(nnx.Module):
    """The whole codec."""

    def __init__(self, config: DacConfig, *, draws: NormalDraws):
        self.encoder = Encoder(config, draws=draws)
        self.quantizer = Quantizer(config, draws=draws)
        self.decoder = Decoder(config, draws=draws)
