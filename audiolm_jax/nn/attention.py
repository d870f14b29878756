"""Causal self-attention of whole sequences, with gradients; generation's is cached_attention.py.

In names of arrays: B batch, H heads, L positions, K head width, R queries of a block, S the keys
that a block offers, W the keys at its end that have a bias of their own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.feed_forward import rms_norm
from audiolm_jax.nn.linear import Linear, sum_float32
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.position import causal_bias, rotate

QUERY_BLOCK = 128


def causal_attention(
    query: Float[Array, "b l h k"],
    key: Float[Array, "b l h k"],
    value: Float[Array, "b l h k"],
    distance_bias: Float[Array, "h n"] | None,
) -> Float[Array, "b l h k"]:
    """Softmax attention of every position to itself and the past; `query` is already scaled.

    Scores and softmax are float32, the result of `value`'s dtype; the backward pass computes the
    scores again, block by block. `distance_bias` is added at distances 0 ... n - 1; the last value
    holds for every larger distance (see nn/position.py).
    """
    heads_first = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    tile = bias_tile(distance_bias, query.shape[1])
    return jnp.swapaxes(_attend(*heads_first, tile), 1, 2)


def bias_tile(
    distance_bias: Float[Array, "h n"] | None, length: int
) -> Float[Array, "#heads block w"]:
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
    query_BxHxLxK: Array, key_BxHxLxK: Array, tile_HxRxW: Array, rows: slice
) -> tuple[Float[Array, "b h r s"], tuple[slice, slice]]:
    """Scores of the queries `rows` to the keys up to their end, and the part of the tile added."""
    query_BxHxRxK, key_BxHxSxK = query_BxHxLxK[:, :, rows], key_BxHxLxK[:, :, : rows.stop]
    scores_BxHxRxS = sum_float32("bhrk,bhsk->bhrs", query_BxHxRxK, key_BxHxSxK)
    count = rows.stop - rows.start
    end = tile_HxRxW.shape[2] - tile_HxRxW.shape[1] + count
    part = slice(0, count), slice(max(0, end - rows.stop), end)
    near_HxRxW = tile_HxRxW[:, *part]
    padding = (0, 0), (0, 0), (rows.stop - near_HxRxW.shape[2], 0)
    return scores_BxHxRxS + jnp.pad(near_HxRxW, padding)[None], part


def _forward(
    query_BxHxLxK: Array, key_BxHxLxK: Array, value_BxHxLxK: Array, tile_HxRxW: Array
) -> tuple[Array, tuple[Array, ...]]:
    mixed, logsumexps = [], []
    for rows in _blocks(query_BxHxLxK.shape[2], tile_HxRxW.shape[1]):
        scores_BxHxRxS, _ = _scores(query_BxHxLxK, key_BxHxLxK, tile_HxRxW, rows)
        largest = jnp.max(scores_BxHxRxS, axis=-1, keepdims=True)
        weights_BxHxRxS = jnp.exp(scores_BxHxRxS - largest)
        total = jnp.sum(weights_BxHxRxS, axis=-1, keepdims=True)
        value_BxHxSxK = value_BxHxLxK[:, :, : rows.stop]
        dtype = value_BxHxLxK.dtype
        sums = sum_float32("bhrs,bhsk->bhrk", weights_BxHxRxS.astype(dtype), value_BxHxSxK)
        mixed.append((sums / total).astype(dtype))
        logsumexps.append(largest + jnp.log(total))
    mixed_BxHxLxK = jnp.concatenate(mixed, axis=2)
    logsumexp_BxHxLx1 = jnp.concatenate(logsumexps, axis=2)
    arguments = query_BxHxLxK, key_BxHxLxK, value_BxHxLxK, tile_HxRxW
    return mixed_BxHxLxK, (*arguments, mixed_BxHxLxK, logsumexp_BxHxLx1)


def _backward(
    residuals: tuple[Array, ...], d_mixed_BxHxLxK: Array
) -> tuple[Array, Array, Array, Array]:
    query, key, value, tile, mixed, logsumexp = residuals
    # What the mean gradient of a query's weights is.
    delta_BxHxLx1 = jnp.sum(
        d_mixed_BxHxLxK.astype(jnp.float32) * mixed.astype(jnp.float32), axis=-1, keepdims=True
    )
    d_query, d_tile = [], jnp.zeros_like(tile)
    d_key, d_value = jnp.zeros(key.shape), jnp.zeros(value.shape)
    for rows in _blocks(query.shape[2], tile.shape[1]):
        seen = slice(0, rows.stop)
        scores_BxHxRxS, part = _scores(query, key, tile, rows)
        weights_BxHxRxS = jnp.exp(scores_BxHxRxS - logsumexp[:, :, rows])
        d_mixed_BxHxRxK, value_BxHxSxK = d_mixed_BxHxLxK[:, :, rows], value[:, :, seen]
        d_weights_BxHxRxS = sum_float32("bhrk,bhsk->bhrs", d_mixed_BxHxRxK, value_BxHxSxK)
        d_scores_BxHxRxS = weights_BxHxRxS * (d_weights_BxHxRxS - delta_BxHxLx1[:, :, rows])
        narrow = d_scores_BxHxRxS.astype(query.dtype)
        d_query.append(jnp.einsum("bhrs,bhsk->bhrk", narrow, key[:, :, seen]))
        d_key = d_key.at[:, :, seen].add(sum_float32("bhrs,bhrk->bhsk", narrow, query[:, :, rows]))
        d_value = d_value.at[:, :, seen].add(
            sum_float32("bhrs,bhrk->bhsk", weights_BxHxRxS.astype(value.dtype), d_mixed_BxHxRxK)
        )
        near_BxHxRxW = d_scores_BxHxRxS[..., rows.stop - (part[1].stop - part[1].start) :]
        # A sum over the first axis, as a product: a reduction takes five times as long on a CPU.
        ones_B = jnp.ones(len(near_BxHxRxW))
        near_HxRxW = jnp.einsum("b,bhrw->hrw", ones_B, near_BxHxRxW, precision="highest")
        if tile.shape[0] == 1:
            near_HxRxW = jnp.sum(near_HxRxW, axis=0, keepdims=True)
        d_tile = d_tile.at[:, *part].add(near_HxRxW)
    d_query_BxHxLxK = jnp.concatenate(d_query, axis=2)
    return d_query_BxHxLxK, d_key.astype(key.dtype), d_value.astype(value.dtype), d_tile


_attend.defvjp(_forward, _backward)


class AttentionProjections(nnx.Module):
    """The weights of self-attention: into queries, keys and values, and out of the mixed values.

    `normalize` brings every query and key to unit mean square, times a learned scale. `dtype` is of
    the products.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        dtype: str,
        *,
        normalize: bool = False,
        rngs: nnx.Rngs,
    ):
        self.head_width = head_width
        names = ("embed", "heads", "kv")
        self.query, self.key, self.value = (
            Linear((width,), (heads, head_width), names, dtype, rngs=rngs) for _ in range(3)
        )
        self.out = Linear((heads, head_width), (width,), ("heads", "kv", "embed"), dtype, rngs=rngs)
        self.query_norm = rms_norm(head_width, "kv", dtype, rngs=rngs) if normalize else None
        self.key_norm = rms_norm(head_width, "kv", dtype, rngs=rngs) if normalize else None

    def project(
        self, x: Float[Array, "b l d"], positions: Int[Array, "p l"] | None = None
    ) -> tuple[Float[Array, "b l h k"], Float[Array, "b l h k"], Float[Array, "b l h k"]]:
        """Scaled queries, keys and values; queries and keys are rotated by positions that are
        given (nn/position.py), where the head width must be even."""
        query, key, value = (
            constrain(into(x), "batch", "length", "heads", "kv")
            for into in (self.query, self.key, self.value)
        )
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if positions is not None:
            query, key = rotate(query, positions), rotate(key, positions)
        return query * self.head_width**-0.5, key, value

    def merge(self, mixed: Float[Array, "b l h k"]) -> Float[Array, "b l d"]:
        """Mixed values of all heads back to the width of the model."""
        return self.out(mixed)
