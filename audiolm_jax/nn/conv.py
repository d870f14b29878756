"""Causal one-dimensional convolutions over [b, t, channels].

Every layer pads on the left only, so output frame n reads no input beyond the last sample of its
own stride. Down- and up-sampling use kernels of twice the stride: exactly 2-tap convolutions
between frames of `stride` samples side by side. No transposed convolution is ever computed (7 to
18 times slower on a CPU), and the wide channels suit a matrix unit.

Every layer also runs on a stream of chunks (`CausalLayer.step`): its state is the inputs that the
kernel reaches back to, in place of the zeros that a whole recording is padded with.

Arithmetic is in the dtype of what is given, float32 or bfloat16; parameters are float32.
"""

import abc
import functools
import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from audiolm_jax.nn.partition import annotate

Module = TypeVar("Module", bound=nnx.Module)
Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]  # before and after, of each space axis


class NormalDraws:
    """Standard normal numbers of a single random draw, handed out in turn to initialize kernels.

    A draw for each of a codec's hundreds of kernels would cost half a second of compilation on a
    CPU. Without values the numbers are counted only, and zeros are handed out.
    """

    def __init__(self, values: Float[Array, " n"] | None):
        self._values = values
        self.used = 0

    def take(self, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """The next numbers, in the given shape."""
        start, self.used = self.used, self.used + math.prod(shape)
        if self._values is None:
            return jnp.zeros(shape)
        return self._values[start : self.used].reshape(shape)


def initialize(build: Callable[[NormalDraws], Module], key: PRNGKeyArray) -> Module:
    """Builds a module whose kernels come from one draw, of the size that a first build counts."""
    counter = NormalDraws(None)

    def count() -> None:
        build(counter)

    jax.eval_shape(count)  # nnx's own would take logical axis names for those of an active mesh
    return build(NormalDraws(jax.random.normal(key, (counter.used,))))


def draw_kernel(draws: NormalDraws, shape: tuple[int, ...], fan_in: int | None = None) -> nnx.Param:
    """A kernel [*extent, channels_in, channels_out] of variance 1 / fan_in (else: all inputs)."""
    std = (fan_in or math.prod(shape[:-1])) ** -0.5
    names = (*(None,) * (len(shape) - 2), "channels_in", "channels_out")
    return nnx.Param(annotate(lambda: draws.take(shape) * std, *names)())


def fill_channels(channels: int, value: float) -> nnx.Param:
    """A bias or gain [channels] that starts at `value`."""
    return nnx.Param(annotate(lambda: jnp.full((channels,), value, jnp.float32), "channels_out")())


def add_channels(x: Float[Array, "*dims o"], bias: Float[Array, " o"]) -> Float[Array, "*dims o"]:
    """The sum, in x's dtype; added in float32, and so is the bias's gradient."""
    return (x.astype(jnp.float32) + bias[(None,) * (x.ndim - 1)]).astype(x.dtype)


def _layout(space: int) -> tuple[str, str, str]:
    letters = "HW"[:space]
    return f"N{letters}C", f"{letters}IO", f"N{letters}C"


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "b *space i"],
    kernel: Float[Array, "*k i o"],
    strides: Sizes,
    padding: Padding,
) -> Float[Array, "b *strided o"]:
    """Strided convolution over one or two space axes; no padding is negative.

    Within `jax.lax.cond` and loops XLA's CPU compiler keeps the layouts of the gradients that JAX
    derives, which run some thirty times slower (jax-ml/jax#12868). These are the same convolutions
    written in the fast layout.
    """
    layout = _layout(x.ndim - 2)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


def _convolve_forward(
    x: Array, kernel: Array, strides: Sizes, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, strides, padding), (x, kernel)


def _convolve_backward(
    strides: Sizes, padding: Padding, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    layout = _layout(x.ndim - 2)
    sizes = list(
        zip(x.shape[1:-1], kernel.shape[:-2], gradient.shape[1:-1], strides, padding, strict=True)
    )
    # In x: the gradient, spread by the stride, meets the kernel turned round.
    spread = [
        (k - 1 - before, n + before - ((m - 1) * stride + 1))
        for n, k, m, stride, (before, _) in sizes
    ]
    turned = jnp.flip(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
    ones = (1,) * len(strides)
    x_gradient = jax.lax.conv_general_dilated(
        gradient, turned, ones, spread, lhs_dilation=strides, dimension_numbers=layout
    )
    # In the kernel: batch and channels change places, and the gradient is the kernel.
    around = [(before, (m - 1) * stride + k - n - before) for n, k, m, stride, (before, _) in sizes]
    inputs, kernels = x.swapaxes(0, -1), jnp.moveaxis(gradient, 0, -2)
    by_channel = jax.lax.conv_general_dilated(
        inputs, kernels, ones, around, rhs_dilation=strides, dimension_numbers=layout
    )
    return x_gradient, jnp.moveaxis(by_channel, 0, -2)


convolve.defvjp(_convolve_forward, _convolve_backward)


def same_padding(sizes: Sizes, kernel: Sizes, strides: Sizes) -> Padding:
    """Padding that gives ceil(size / stride) outputs, the odd one after."""
    return tuple(jax.lax.padtype_to_pads(sizes, kernel, strides, "SAME"))


def causal_convolution(
    x: Float[Array, "b t i"],
    kernel: Float[Array, "k i o"],
    dilation: int = 1,
    past: Float[Array, "b p i"] | None = None,
) -> tuple[Float[Array, "b t o"], Float[Array, "b p i"] | None]:
    """Convolution with stride 1 that reaches back p = dilation * (k - 1) inputs.

    `past` holds the p inputs before `x`; None stands for zeros and costs no copy. The last p inputs
    come back with the outputs if `past` was given.
    """
    reach = dilation * (kernel.shape[0] - 1)
    if past is not None:
        x = jnp.concatenate([past, x], axis=1)
    padding = [(reach if past is None else 0, 0)]
    y = jax.lax.conv_general_dilated(
        x, kernel, (1,), padding, rhs_dilation=(dilation,), dimension_numbers=_layout(1)
    )
    return y, None if past is None else x[:, x.shape[1] - reach :]


class CausalLayer(nnx.Module):
    """A layer that runs on a whole recording, or on one chunk after the other."""

    kernel: nnx.Param
    bias: nnx.Param
    past_shape: tuple[int, int]  # of what lies before a chunk

    def __call__(self, x: Float[Array, "b t i"]) -> Float[Array, "b n o"]:
        """Outputs of a whole recording."""
        return self.step(x, None)[0]

    def initial_state(self, batch: int) -> Float[Array, "b p c"]:
        """What lies before the first chunk: zeros."""
        return jnp.zeros((batch, *self.past_shape))

    def step(
        self, x: Float[Array, "b t i"], state: Float[Array, "b p c"] | None
    ) -> tuple[Float[Array, "b n o"], Float[Array, "b p c"] | None]:
        """Outputs of a chunk, and the state before the next; None on both sides keeps no state."""
        y, state = self._convolve(x, state)
        return add_channels(y, self.bias[...]), state

    @abc.abstractmethod
    def _convolve(self, x: Array, state: Array | None) -> tuple[Array, Array | None]: ...


class CausalConv(CausalLayer):
    """Convolution of stride 1: output n reads inputs n - dilation * (kernel_size - 1) to n."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        draws: NormalDraws,
    ):
        self.kernel = draw_kernel(draws, (kernel_size, channels_in, channels_out))
        self.bias = fill_channels(channels_out, 0.0)
        self.dilation = dilation
        self.past_shape = (dilation * (kernel_size - 1), channels_in)

    def _convolve(self, x: Array, state: Array | None) -> tuple[Array, Array | None]:
        return causal_convolution(x, self.kernel[...].astype(x.dtype), self.dilation, state)


class CausalDownsample(CausalLayer):
    """Strided convolution, [b, t, i] -> [b, t / stride, o], of whole strides.

    Output n reads inputs (n - 1) * stride to (n + 1) * stride - 1.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, draws: NormalDraws):
        self.kernel = draw_kernel(draws, (2 * stride, channels_in, channels_out))
        self.bias = fill_channels(channels_out, 0.0)
        self.stride, self.past_shape = stride, (1, stride * channels_in)

    def _convolve(self, x: Array, state: Array | None) -> tuple[Array, Array | None]:
        batch, time, channels = x.shape
        if time % self.stride:
            raise ValueError(f"{time} frames are not a multiple of the stride {self.stride}")
        frames = x.reshape(batch, time // self.stride, self.stride * channels)
        taps = self.kernel[...].astype(x.dtype).reshape(2, self.stride * channels, -1)
        return causal_convolution(frames, taps, past=state)


class CausalUpsample(CausalLayer):
    """Transposed convolution, [b, t, i] -> [b, t * stride, o], its last `stride` outputs cut off.

    Output n * stride + r is kernel[r] at input n plus kernel[stride + r] at input n - 1.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, draws: NormalDraws):
        # Each output sample is reached by two taps only, whatever the stride.
        shape = (2 * stride, channels_in, channels_out)
        self.kernel = draw_kernel(draws, shape, fan_in=2 * channels_in)
        self.bias = fill_channels(channels_out, 0.0)
        self.stride, self.past_shape = stride, (1, channels_in)

    def _convolve(self, x: Array, state: Array | None) -> tuple[Array, Array | None]:
        batch, time, channels = x.shape
        now, past = jnp.split(self.kernel[...].astype(x.dtype), 2)
        taps = jnp.stack([past, now]).transpose(0, 2, 1, 3).reshape(2, channels, -1)
        frames, state = causal_convolution(x, taps, past=state)
        return frames.reshape(batch, time * self.stride, -1), state
