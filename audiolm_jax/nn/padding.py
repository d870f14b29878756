"""Items of unequal lengths in one batch: which frames are theirs, and statistics over these."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def valid_frames(lengths: Int[Array, " b"], frames: int) -> Bool[Array, "b t"]:
    """True where a frame lies within its item's length."""
    return jnp.arange(frames)[None, :] < lengths[:, None]


def standardize_over_time(
    x: Float[Array, "b t d"], valid: Bool[Array, "b t"], variance_floor: float, ddof: int = 0
) -> Float[Array, "b t d"]:
    """Zero mean and unit variance of each dimension over the valid frames of each item.

    Other frames become 0, whatever they hold. `variance_floor` is added to the variance, in which
    `ddof` is taken off the number of frames.
    """
    inside = valid[:, :, None]
    count = jnp.sum(inside, axis=1, keepdims=True)
    mean = jnp.sum(x, axis=1, keepdims=True, where=inside) / jnp.maximum(count, 1)
    deviation = jnp.where(inside, x - mean, 0)
    variance = jnp.sum(jnp.square(deviation), axis=1, keepdims=True) / jnp.maximum(count - ddof, 1)
    return deviation * jax.lax.rsqrt(variance + variance_floor)
