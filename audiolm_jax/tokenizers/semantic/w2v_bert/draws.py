"""Random draws and initializers in float32, flat and then reshaped.

XLA's CPU backend unrolls the generator over small inner dimensions, and compiles 10 times longer.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def _flat(draw: Callable[..., Array]) -> Callable[..., Array]:
    def drawn(
        key: Key[Array, ""], shape: tuple[int, ...], dtype: Any = jnp.float32
    ) -> Float[Array, "..."]:
        return draw(key, (math.prod(shape),)).reshape(shape).astype(dtype)

    return drawn


uniform = _flat(jax.random.uniform)  # on [0, 1)
normal = _flat(jax.random.normal)
gumbel = _flat(jax.random.gumbel)


def _symmetric(squared_limit: Callable[[tuple[int, ...]], float]) -> Callable[..., Array]:
    """Uniform about 0, with a limit that follows from the shape; the last axis is the output."""

    def initializer(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        limit = math.sqrt(squared_limit(shape))
        return (limit * (2 * uniform(key, shape) - 1)).astype(dtype)

    return initializer


glorot_uniform = _symmetric(lambda shape: 6 / (math.prod(shape[:-1]) + shape[-1]))
he_uniform = _symmetric(lambda shape: 6 / math.prod(shape[:-1]))  # for layers before a ReLU
depthwise_uniform = _symmetric(lambda shape: 3 / shape[0])  # kernels [taps, channels]
