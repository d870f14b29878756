"""Relative positions of a causal decoder: T5's learned bias, or rotation of queries and keys.

T5: one learned number per head and bucket of distances, constant from `max_distance` on. Attention
receives the bias at distances 0 ... max_distance and looks it up for itself.

Paper: AudioLM section IV-B ("relative positional embeddings of T5"); sizes as in t5x. Rotation
(RoPE, arXiv 2104.09864) is not in the paper.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.partition import annotate

_LONGEST_WAVE = 10_000.0  # in units of 2 pi positions, as in RoPE's paper


def distance_buckets(buckets: int, max_distance: int) -> Int[np.ndarray, " n"]:
    """Bucket of every distance 0 ... max_distance, which shares the last bucket with all beyond.

    The lower half of `buckets`, an even number, holds one distance each; `max_distance` is more.
    """
    exact = buckets // 2
    distance = np.arange(max_distance + 1)
    share = np.log(np.maximum(distance, exact) / exact) / np.log(max_distance / exact)
    # The nudge keeps powers that float64 lands just below their integer in the right bucket.
    logarithmic = exact + np.floor(share * (buckets - exact) + 1e-9).astype(np.int64)
    bucket = np.where(distance < exact, distance, np.minimum(logarithmic, buckets - 1))
    return bucket.astype(np.int32)


class RelativePositionBias(nnx.Module):
    """The learned table, shared by all layers of a decoder."""

    def __init__(self, buckets: int, max_distance: int, heads: int, *, rngs: nnx.Rngs):
        self.buckets = buckets
        self.max_distance = max_distance
        init = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.table = nnx.Param(annotate(init, None, "heads")(rngs.params(), (buckets, heads)))

    def __call__(self) -> Float[Array, "h n"]:
        """Bias of each head at distances 0 ... max_distance; the last holds for all beyond."""
        return self.table[...].T[:, distance_buckets(self.buckets, self.max_distance)]


def causal_bias(distance_bias: Float[Array, "h n"], length: int) -> Float[Array, "h l l"]:
    """Expands a bias by distance to query x key, both at positions 0 ... length - 1.

    Entry [h, i, j] is the bias at distance i - j; entries with j > i mean nothing. It is cut out
    of copies of one row laid end to end, each one place further: the gradient is a plain sum, where
    indexing would need a scatter of l x l numbers.
    """
    heads, known = distance_bias.shape
    if length > known:
        beyond = jnp.broadcast_to(distance_bias[:, -1:], (heads, length - known))
        distance_bias = jnp.concatenate([distance_bias, beyond], axis=1)
    distance_bias = distance_bias[:, :length]
    future = jnp.zeros((heads, length), distance_bias.dtype)
    # row[:, k] is the bias at distance -k modulo 2 * length.
    row = jnp.concatenate([distance_bias[:, :1], future, distance_bias[:, :0:-1]], axis=1)
    period = 2 * length
    copies = jnp.broadcast_to(row[:, None, :], (heads, length, period)).reshape(heads, -1)
    skewed = copies[:, : length * (period - 1)].reshape(heads, length, period - 1)
    return skewed[:, :, :length]


def rotate(x: Float[Array, "b l h k"], positions: Int[Array, "p l"]) -> Float[Array, "b l h k"]:
    """Turns channel pairs of queries or keys (k even) by angles that grow with the position.

    There is one row of positions for each row of the batch, or one (p = 1) for all.
    """
    half = x.shape[-1] // 2
    frequencies = (_LONGEST_WAVE ** (-np.arange(half) / half)).astype(np.float32)
    angle = positions[:, :, None, None].astype(jnp.float32) * frequencies[None, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
