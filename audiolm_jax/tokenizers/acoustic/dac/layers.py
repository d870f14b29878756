"""Layers of the Descript Audio Codec: Snake, and convolutions centered on their output.

The codec is not causal. Each centered convolution is computed by its causal sibling of `nn.conv` on
input shifted by the delay between the two, so that no transposed convolution is ever computed.

A batch holds windows of recordings, and a `Span` says which positions of each window lie within
the recording. Before every layer that looks beside its own position, what lies outside is set to
zero, as a convolution over the whole recording pads; appended zeros would not stay zero.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.conv import (
    CausalConv,
    CausalDownsample,
    CausalUpsample,
    NormalDraws,
    fill_channels,
)

# pi in three parts of few bits: multiples of the first two are exact in float32.
_PI_PARTS = (3.140625, 9.67502593994140625e-4, 1.50995799097837643e-7)
# sin(r) - r = r^3 (c0 + c1 r^2 + ...) on [-pi/2, pi/2], fitted for the least maximum error, 5e-9.
_SINE = (-1.6666657096e-1, 8.3330172911e-3, -1.9806615173e-4, 2.6000547141e-6)


class Span(NamedTuple):
    """Which positions of each window lie within its recording: start <= position < stop."""

    start: Int[Array, " b"]  # negative when the recording began before the window
    stop: Int[Array, " b"]  # beyond the window when the recording goes on

    def keep(self, x: Float[Array, "b t c"]) -> Float[Array, "b t c"]:
        """x with zeros outside; what stood there may be NaN."""
        position = jnp.arange(x.shape[1])[None]
        inside = (position >= self.start[:, None]) & (position < self.stop[:, None])
        return jnp.where(inside[..., None], x, jnp.zeros((), x.dtype))

    def down(self, stride: int) -> "Span":
        """After a strided convolution; both ends are multiples of the stride."""
        return Span(self.start // stride, self.stop // stride)

    def up(self, stride: int) -> "Span":
        """After a transposed convolution: an odd stride loses one position at the end."""
        return Span(self.start * stride, self.stop * stride - stride % 2)


def sine_squared(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin(y)^2 within 2e-7 for |y| < 1e4, by its period of pi."""
    turns = jnp.round(y * (1 / jnp.pi))
    for part in _PI_PARTS:
        y = y - turns * part
    square = y * y
    sine = y + y * square * jnp.polyval(jnp.array(_SINE[::-1]), square, unroll=len(_SINE))
    return sine * sine


class Snake(nnx.Module):
    """x + sin(alpha x)^2 / alpha, alpha of each channel. Zero stays zero."""

    def __init__(self, channels: int):
        self.alpha = fill_channels(channels, 1.0)

    def __call__(self, x: Float[Array, "b t c"]) -> Float[Array, "b t c"]:
        """Keeps the shape."""
        alpha = self.alpha[...][None, None]
        return x + sine_squared(alpha * x) / (alpha + 1e-9)


class CenteredConv(nnx.Module):
    """Convolution of stride 1 and odd kernel, as many zeros before as after."""

    def __init__(
        self, width_in: int, width_out: int, kernel: int, *, dilation: int = 1, draws: NormalDraws
    ):
        self.causal = CausalConv(width_in, width_out, kernel, dilation=dilation, draws=draws)
        self.delay = dilation * (kernel - 1) // 2

    def __call__(self, x: Float[Array, "b t i"], span: Span) -> Float[Array, "b t o"]:
        """Output n reads inputs n - delay to n + delay that lie within the span."""
        if not self.delay:
            return self.causal(x)
        ahead = jnp.pad(span.keep(x), ((0, 0), (0, self.delay), (0, 0)))
        return self.causal(ahead)[:, self.delay :]


class CenteredDownsample(nnx.Module):
    """Strided convolution of kernel 2 * stride, ceil(stride / 2) zeros before."""

    def __init__(self, width_in: int, width_out: int, stride: int, *, draws: NormalDraws):
        self.causal = CausalDownsample(width_in, width_out, stride, draws=draws)

    def __call__(self, x: Float[Array, "b t i"], span: Span) -> tuple[Float[Array, "b n o"], Span]:
        """[b, t, i] -> [b, t / stride, o], t a multiple of the stride, and its span."""
        stride = self.causal.stride
        before = -(-stride // 2)
        shifted = jnp.pad(span.keep(x), ((0, 0), (before, stride - before), (0, 0)))
        return self.causal(shifted)[:, 1:], span.down(stride)


class CenteredUpsample(nnx.Module):
    """Transposed convolution of kernel 2 * stride, ceil(stride / 2) outputs cut off in front."""

    def __init__(self, width_in: int, width_out: int, stride: int, *, draws: NormalDraws):
        self.causal = CausalUpsample(width_in, width_out, stride, draws=draws)

    def __call__(self, x: Float[Array, "b t i"], span: Span) -> tuple[Float[Array, "b n o"], Span]:
        """[b, t, i] -> [b, t * stride, o], and its span."""
        stride = self.causal.stride
        before = -(-stride // 2)
        longer = self.causal(jnp.pad(span.keep(x), ((0, 0), (0, 1), (0, 0))))
        return longer[:, before : before + x.shape[1] * stride], span.up(stride)
