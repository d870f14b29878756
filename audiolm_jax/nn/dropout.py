"""Dropout as a pure function of its key."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


def dropout(
    x: Float[Array, "*dims"], rate: float, key: Key[Array, ""] | None
) -> Float[Array, "*dims"]:
    """Zeroes each number with probability `rate` < 1 and scales up the others, if given a key."""
    if key is None or rate == 0:
        return x
    return _drop(x, jax.random.key_data(key), rate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _drop(x: Array, words: Array, rate: float) -> Array:
    return jnp.where(_kept(words, x.shape, rate), x * (1 / (1 - rate)), 0).astype(x.dtype)


def _forward(x: Array, words: Array, rate: float) -> tuple[Array, Array]:
    return _drop(x, words, rate), words


def _backward(rate: float, words: Array, gradient: Array) -> tuple[Array, None]:
    # The mask is drawn anew: that is cheaper than keeping it.
    return _drop(gradient, words, rate), None


_drop.defvjp(_forward, _backward)


def _kept(words: Array, shape: tuple[int, ...], rate: float) -> Bool[Array, "*dims"]:
    """Where to keep, from the key and each number's place: the same on any mesh.

    An integer hash (multiply and shift, after "lowbias32") of the place, keyed before and within: a
    tenth of the work of JAX's generator, and each fused loop can draw it where it is used.
    """
    place = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        stride = jnp.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    bits = place ^ words[0]
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15) ^ words[1]) * jnp.uint32(0x846CA68B)
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x9E3779B1)
    return bits ^ (bits >> 15) >= jnp.uint32(round(rate * 2**32))
