"""Dropout as a pure function of its key."""

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float, Key

_LEVELS = 1 << 16


def dropout(
    x: Float[Array, "*dims"], rate: float, key: Key[Array, ""] | None
) -> Float[Array, "*dims"]:
    """Zeroes each number with probability `rate`, rounded to 1/65536, and scales up the others.

    Args:
      x: any shape.
      rate: in [0, 1).
      key: random key; without one `x` comes back as it is.
    """
    dropped = round(rate * _LEVELS)
    if key is None or not dropped:
        return x
    # Half a random word a number, drawn in one row: XLA's CPU backend is slow over small inner
    # dimensions. The barrier keeps it from drawing them anew in every consumer.
    bits = jax.random.bits(key, (x.size,), jnp.uint16)
    kept = jax.lax.optimization_barrier(bits >= dropped).reshape(x.shape)
    return jnp.where(kept, x / (1 - dropped / _LEVELS), 0).astype(x.dtype)
