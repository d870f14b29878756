"""Causal self-attention, whole or one token at a time against a cache of keys and values.

The module only projects; what happens between the projections is a function of queries, keys and
values (`causal_attention`, `cached_attention`), so that another way of computing the same scores
can take its place.
"""

import dataclasses

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.nn.linear import Linear
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.nn.position import causal_bias, rotate

QUERY_BLOCK = 128


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """Keys and values of one layer.

    The slot axis stands next to the head dimension, so that the scores of one query read memory
    in order.

    Attributes:
      keys: [b, h, s, k], s slots. What an unwritten slot holds is never seen.
      values: [b, h, s, k].
    """

    keys: Array
    values: Array

    def write(
        self, key: Float[Array, "b l h k"], value: Float[Array, "b l h k"], slot: Int[Array, ""]
    ) -> "KVCache":
        """The cache with the given keys and values at slots slot ... slot + l - 1."""
        return KVCache(
            *(
                jax.lax.dynamic_update_slice_in_dim(cached, jnp.moveaxis(new, 1, 2), slot, axis=2)
                for cached, new in ((self.keys, key), (self.values, value))
            )
        )


def empty_cache(batch: int, heads: int, slots: int, head_width: int, dtype: str) -> KVCache:
    """A cache with nothing written: zeros, because a masked value still gets multiplied by 0."""
    zeros = jnp.zeros((batch, heads, slots, head_width), dtype)
    return KVCache(zeros, zeros)


def causal_attention(
    query: Float[Array, "b l h k"],
    key: Float[Array, "b l h k"],
    value: Float[Array, "b l h k"],
    distance_bias: Float[Array, "h n"] | None,
) -> Float[Array, "b l h k"]:
    """Softmax attention of every position to itself and the past.

    The backward pass computes the scores again from queries and keys, block by block, so that no
    scores are kept.

    Args:
      query: already scaled.
      key: same positions as `query`.
      value: same positions as `query`.
      distance_bias: added to the score of each head at distances 0 ... n - 1; the last value holds
        for every larger distance (see nn/position.py). None adds nothing.

    Returns:
      Mixed values, in the dtype of `value`; scores and softmax are float32.
    """
    heads_first = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    tile = _bias_tile(distance_bias, query.shape[1])
    return jnp.swapaxes(_attend(*heads_first, tile), 1, 2)


def _bias_tile(
    distance_bias: Float[Array, "h n"] | None, length: int
) -> Float[Array, "h {block} w"]:
    """Bias and causal mask of a block of queries and the w last keys that it sees.

    Softmax does not change when a constant is added to a row of scores, so the bias of the far
    distance is taken off: keys further away than those of the tile have none.
    """
    block = min(QUERY_BLOCK, length)
    visible = np.tril(np.ones((block, block), bool))
    if distance_bias is None:
        return jnp.where(visible, 0.0, -jnp.inf)[None]
    distance_bias = distance_bias[:, :length]  # what is out of reach gets no gradient
    reach = distance_bias.shape[1] - 1
    square = causal_bias(distance_bias - distance_bias[:, -1:], block + reach)[:, reach:]
    visible = np.concatenate([np.ones((block, reach), bool), visible], axis=1)
    return jnp.where(visible[None], square, -jnp.inf)


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array, tile: Array) -> Array:
    return _forward(query, key, value, tile)[0]


def _blocks(length: int, block: int) -> list[slice]:
    # A block of queries looks at the keys up to its own end only: half the scores are never made.
    return [slice(start, min(start + block, length)) for start in range(0, length, block)]


def _scores(
    query: Array, key: Array, tile: Array, rows: slice
) -> tuple[Float[Array, "b h r s"], tuple[slice, slice]]:
    """Scores of the queries `rows` to the keys up to their end, and the part of the tile added."""
    scores = jnp.einsum(
        "bhik,bhjk->bhij",
        query[:, :, rows],
        key[:, :, : rows.stop],
        preferred_element_type=jnp.float32,
    )
    count = rows.stop - rows.start
    end = tile.shape[2] - tile.shape[1] + count
    part = slice(0, count), slice(max(0, end - rows.stop), end)
    near = tile[:, *part]
    padding = (0, 0), (0, 0), (rows.stop - near.shape[2], 0)
    return scores + jnp.pad(near, padding)[None], part


def _forward(query: Array, key: Array, value: Array, tile: Array) -> tuple[Array, tuple]:
    mixed, normalisers = [], []
    for rows in _blocks(query.shape[2], tile.shape[1]):
        scores, _ = _scores(query, key, tile, rows)
        largest = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        values = value[:, :, : rows.stop]
        sums = jnp.einsum("bhij,bhjk->bhik", weights.astype(value.dtype), values)
        mixed.append((sums / total).astype(value.dtype))
        normalisers.append(largest + jnp.log(total))
    out = jnp.concatenate(mixed, axis=2)
    return out, (query, key, value, tile, out, jnp.concatenate(normalisers, axis=2))


def _backward(kept: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array, Array]:
    query, key, value, tile, out, normalisers = kept
    overlap = jnp.sum(
        gradient.astype(jnp.float32) * out.astype(jnp.float32), axis=-1, keepdims=True
    )
    of_query, of_tile = [], jnp.zeros_like(tile)
    of_key, of_value = jnp.zeros_like(key), jnp.zeros_like(value)
    for rows in _blocks(query.shape[2], tile.shape[1]):
        seen = slice(0, rows.stop)
        scores, part = _scores(query, key, tile, rows)
        weights = jnp.exp(scores - normalisers[:, :, rows])
        of_mixed = gradient[:, :, rows]
        of_weights = jnp.einsum(
            "bhik,bhjk->bhij", of_mixed, value[:, :, seen], preferred_element_type=jnp.float32
        )
        of_scores = weights * (of_weights - overlap[:, :, rows])
        narrow = of_scores.astype(query.dtype)
        of_query.append(jnp.einsum("bhij,bhjk->bhik", narrow, key[:, :, seen]))
        of_key = of_key.at[:, :, seen].add(jnp.einsum("bhij,bhik->bhjk", narrow, query[:, :, rows]))
        of_value = of_value.at[:, :, seen].add(
            jnp.einsum("bhij,bhik->bhjk", weights.astype(value.dtype), of_mixed)
        )
        near = of_scores[..., rows.stop - (part[1].stop - part[1].start) :]
        # A sum over the first axis, as a product: a reduction takes five times as long on a CPU.
        near = jnp.einsum("b,bhij->hij", jnp.ones(len(near)), near, precision="highest")
        if tile.shape[0] == 1:
            near = jnp.sum(near, axis=0, keepdims=True)
        of_tile = of_tile.at[:, *part].add(near)
    return jnp.concatenate(of_query, axis=2), of_key, of_value, of_tile


_attend.defvjp(_forward, _backward)


def cached_attention(
    query: Float[Array, "b 1 h k"],
    cache: KVCache,
    distances: Int[Array, "b s"],
    visible: Bool[Array, "b s"],
    distance_bias: Float[Array, "h n"] | None,
) -> Float[Array, "b 1 h k"]:
    """Softmax attention of one query per row to the visible slots of a cache.

    Args:
      query: already scaled.
      cache: holds at least one visible slot for each row.
      distances: positions from each slot to the query, at least 0 where visible.
      visible: which slots the query may see.
      distance_bias: as in `causal_attention`.
    """
    scores = jnp.einsum("bhk,bhsk->bhs", query[:, 0], cache.keys).astype(jnp.float32)
    if distance_bias is not None:
        last = distance_bias.shape[1] - 1
        scores += jnp.moveaxis(distance_bias[:, jnp.clip(distances, 0, last)], 0, 1)
    weights = jax.nn.softmax(jnp.where(visible[:, None, :], scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum("bhs,bhsk->bhk", weights.astype(cache.values.dtype), cache.values)
    return mixed[:, None]


class AttentionProjections(nnx.Module):
    """The weights of self-attention: into queries, keys and values, and out of the mixed values."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        dtype: str,
        *,
        normalize: bool = False,
        rotary: bool = False,
        rngs: nnx.Rngs,
    ):
        """Makes the weights.

        Args:
          width: dimensions of the residual stream.
          heads: how many.
          head_width: dimensions of each; even if `rotary`.
          dtype: of the matrix products.
          normalize: bring every query and key to unit mean square, times a learned scale.
          rotary: rotate queries and keys by their positions.
          rngs: of the initialisation.
        """
        self.head_width = head_width
        self.rotary = rotary
        names = ("embed", "heads", "kv")
        self.query, self.key, self.value = (
            Linear((width,), (heads, head_width), names, dtype, rngs=rngs) for _ in range(3)
        )
        self.out = Linear((heads, head_width), (width,), ("heads", "kv", "embed"), dtype, rngs=rngs)
        self.query_norm = _head_norm(head_width, dtype, rngs) if normalize else None
        self.key_norm = _head_norm(head_width, dtype, rngs) if normalize else None

    def project(
        self, x: Float[Array, "b l d"], positions: Int[Array, "p l"] | None = None
    ) -> tuple[Array, Array, Array]:
        """Scaled queries, keys and values, each [b, l, h, k].

        Args:
          x: normalised residual stream.
          positions: of each row, or one row (p = 1) for all; None for 0 ... l - 1.
        """
        query, key, value = (
            constrain(into(x), "batch", "length", "heads", "kv")
            for into in (self.query, self.key, self.value)
        )
        if self.query_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if self.rotary:
            positions = jnp.arange(x.shape[1])[None] if positions is None else positions
            query, key = rotate(query, positions), rotate(key, positions)
        return query * self.head_width**-0.5, key, value

    def merge(self, mixed: Float[Array, "b l h k"]) -> Float[Array, "b l d"]:
        """Mixed values of all heads back to the width of the model."""
        return self.out(mixed)


def _head_norm(head_width: int, dtype: str, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(
        head_width,
        epsilon=1e-6,
        dtype=jnp.dtype(dtype),
        scale_init=annotate(nnx.initializers.ones_init(), "kv"),
        rngs=rngs,
    )
