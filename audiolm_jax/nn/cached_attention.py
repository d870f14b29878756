"""Attention of generation: one query of each row against a cache, and a prompt in one pass.

Nothing here has a gradient; training's attention is nn/attention.py. In names of arrays: R rows,
H heads, S slots or keys, K head width, Q queries of a block, W the keys that have a bias.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.attention import bias_tile
from audiolm_jax.nn.columns import alone, fill_lanes
from audiolm_jax.nn.linear import sum_float32


class KVCache(NamedTuple):
    """Keys and values of one layer, [r, h, s, k] each; unwritten slots hold anything finite."""

    keys: Array  # slots beside the head width: the scores of a query read memory in order
    values: Array

    def write(
        self, key: Float[Array, "r l h k"], value: Float[Array, "r l h k"], slot: Int[Array, ""]
    ) -> "KVCache":
        """The cache with the given keys and values at slots slot ... slot + l - 1."""
        written = (
            jax.lax.dynamic_update_slice_in_dim(cached, jnp.moveaxis(new, 1, 2), slot, axis=2)
            for cached, new in zip(self, (key, value), strict=True)
        )
        return KVCache(*written)


def empty_cache(rows: int, heads: int, slots: int, head_width: int, dtype: DTypeLike) -> KVCache:
    """A cache with nothing written: zeros, because a masked value still gets multiplied by 0."""
    zeros = jnp.zeros((rows, heads, slots, head_width), dtype)
    return KVCache(zeros, zeros)


def single_query_attention(
    query: Float[Array, "n h k"], cache: KVCache, bias: Float[Array, "n g s"]
) -> Float[Array, "n h k"]:
    """Softmax attention of one scaled query per row to a cache, whose r <= n rows are the first.

    `bias`, of g = h heads or one for all, is added to the scores; it is minus infinity at slots
    that the row must not see, which are not all. Only the products have the cache's number of rows.
    """
    rows, lanes = len(cache.keys), len(query)
    mine = alone(query[:rows])
    scores_RxHxS = sum_float32("rhk,rhsk->rhs", mine, cache.keys)
    scores_NxHxS = fill_lanes(scores_RxHxS, lanes) + bias
    weights_NxHxS = jax.nn.softmax(scores_NxHxS, axis=-1).astype(cache.values.dtype)
    weights_RxHxS = alone(alone(weights_NxHxS)[:rows])
    mixed_RxHxK = sum_float32("rhs,rhsk->rhk", weights_RxHxS, cache.values)
    return fill_lanes(mixed_RxHxK, lanes).astype(query.dtype)


def prompt_attention(
    query: Float[Array, "h p k"],
    key: Float[Array, "h p k"],
    value: Float[Array, "h p k"],
    distance_bias: Float[Array, "h n"] | None,
) -> Float[Array, "h p k"]:
    """`causal_attention` of one sequence, by a loop over blocks of queries that is compiled once.

    A block of queries looks at all keys, twice what it needs: the price of one shape for all.
    """
    heads, length, width = query.shape
    tile_HxQxW = bias_tile(distance_bias, length)
    block = tile_HxQxW.shape[1]
    blocks = -(-length // block)
    reach = tile_HxQxW.shape[2] - block  # keys before a block that have a bias
    fill = (0, 0), (0, blocks * block - length), (0, 0)
    query_BxHxQxK = jnp.moveaxis(jnp.pad(query, fill).reshape(heads, blocks, block, width), 1, 0)
    before = (0, 0), (reach, fill[1][1]), (0, 0)
    key_HxSxK, value_HxSxK = jnp.pad(key, before), jnp.pad(value, before)
    slot = jnp.arange(key_HxSxK.shape[1])

    def attend(_: None, inputs: tuple[Array, Array]) -> tuple[None, Array]:
        query_HxQxK, start = inputs
        scores_HxQxS = sum_float32("hqk,hsk->hqs", query_HxQxK, key_HxSxK)
        near = jax.lax.dynamic_slice_in_dim(scores_HxQxS, start, block + reach, axis=2)
        scores_HxQxS = jax.lax.dynamic_update_slice_in_dim(
            scores_HxQxS, near + tile_HxQxW, start, axis=2
        )
        seen = (slot >= reach) & (slot < reach + start + block)
        scores_HxQxS = jnp.where(seen[None, None], scores_HxQxS, -jnp.inf)
        weights_HxQxS = jax.nn.softmax(scores_HxQxS, axis=-1).astype(value.dtype)
        return None, sum_float32("hqs,hsk->hqk", weights_HxQxS, value_HxSxK).astype(query.dtype)

    starts = jnp.arange(blocks) * block
    _, mixed_BxHxQxK = jax.lax.scan(attend, None, (query_BxHxQxK, starts))
    return jnp.moveaxis(mixed_BxHxQxK, 0, 1).reshape(heads, -1, width)[:, :length]
