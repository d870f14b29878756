"""The decoder for generation: prompts in one pass, layer by layer, then a token of all rows a step.

The network is that of lm/decoder.py. Everything is laid out in columns (nn/columns.py), and nothing
of a row's arithmetic knows its mates: a row gets the same bits in every batch.

Slots of a cache. A row's prompt lies in slots 0 ... length - 1, slots up to `start` are never
visible, and what is fed as number i of the steps lies in slot `start` + i. One write at one slot
serves all rows, and is made in place; each row counts its own positions.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from audiolm_jax.lm.weights import Arithmetic, DecoderWeights, LayerWeights
from audiolm_jax.nn.cached_attention import KVCache, prompt_attention, single_query_attention
from audiolm_jax.nn.columns import Matrix, product, rms_normalize
from audiolm_jax.nn.feed_forward import gated_gelu
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.position import rotate
from audiolm_jax.stages import FIRST_ID

Record = TypeVar("Record")
Heads = Float[Array, "n h k"]


def embed(weights: DecoderWeights, ids: Int[Array, " n"], dtype: str) -> Float[Array, "d n"]:
    """Embedded tokens as columns."""
    return weights.embedding[ids].T.astype(dtype)


def logits(weights: DecoderWeights, x: Float[Array, "d n"], how: Arithmetic) -> Float[Array, "n v"]:
    """Float32 logits from the residual stream after the last layer."""
    x = rms_normalize(x, whole(weights.final_norm, "embed"))
    matrix = whole_matrix(weights.output, ("vocab", "embed"))
    return constrain(product(matrix, x, how.by_lanes, jnp.float32).T, "batch", "vocab")


def level_logits(
    weights: DecoderWeights,
    x: Float[Array, "d n"],
    first: Int[Array, ""],
    size: int,
    how: Arithmetic,
) -> Float[Array, "n c"]:
    """Those of `logits` of the special ids and of the `size` ids from `first` on, such as a level's
    codes: of the output matrix, at twelve levels a large part of all weights, no more is read."""
    x = rms_normalize(x, whole(weights.final_norm, "embed"))
    matrix = whole_matrix(weights.output, ("vocab", "embed"))
    special = jax.tree.map(lambda rows: rows[:FIRST_ID], matrix)
    level = jax.tree.map(lambda rows: jax.lax.dynamic_slice_in_dim(rows, first, size), matrix)
    parts = [product(rows, x, how.by_lanes, jnp.float32) for rows in (special, level)]
    return constrain(jnp.concatenate(parts).T, "batch", "vocab")


def layer(
    weights: LayerWeights,
    x: Float[Array, "d n"],
    positions: Int[Array, " n"] | None,
    attend: Callable[[Heads, Heads, Heads], tuple[Heads, Record]],
    how: Arithmetic,
) -> tuple[Float[Array, "d n"], Record]:
    """The residual stream after one layer, and what `attend` hands back, such as a cache.

    Queries and keys are rotated by positions that are given.
    """
    normed = rms_normalize(x, whole(weights.attention_norm, "embed"))
    into = whole_matrix(weights.query_key_value, (None, "heads", "kv", "embed"))
    query, key, value = jnp.moveaxis(product(into, normed, how.by_lanes), -1, 1)
    if how.decoder.qk_norm:
        query = rms_normalize(query, weights.query_norm, axis=2)
        key = rms_normalize(key, weights.key_norm, axis=2)
    if positions is not None:
        query, key = (rotate(x[None], positions[None])[0] for x in (query, key))
    mixed, record = attend(query * how.decoder.head_width**-0.5, key, value)
    out = whole_matrix(weights.out, ("embed", "heads", "kv"))
    x = constrain(x + product(out, jnp.moveaxis(mixed, 0, -1), how.by_lanes), None, "batch")
    normed = rms_normalize(x, whole(weights.feed_forward_norm, "embed"))
    gate_up = whole_matrix(weights.gate_up, (None, "mlp", "embed"))
    gate, up = constrain(product(gate_up, normed, how.by_lanes), None, "mlp", "batch")
    down = whole_matrix(weights.down, ("embed", "mlp"))
    return constrain(x + product(down, gated_gelu(gate, up), how.by_lanes), None, "batch"), record


def prompt_layer(
    weights: LayerWeights,
    x: Float[Array, "d p"],
    positions: Int[Array, " p"] | None,
    distance_bias: Float[Array, "h n"] | None,
    how: Arithmetic,
) -> tuple[Float[Array, "d p"], tuple[Float[Array, "h p k"], Float[Array, "h p k"]]]:
    """One layer over one prompt, filled up on the right: the stream, and its keys and values."""

    def attend(query: Array, key: Array, value: Array) -> tuple[Array, tuple[Array, Array]]:
        query, key, value = (jnp.swapaxes(x, 0, 1) for x in (query, key, value))
        mixed = prompt_attention(query, key, value, distance_bias)
        return jnp.swapaxes(mixed, 0, 1), (key, value)

    return layer(weights, x, positions, attend, dataclasses.replace(how, by_lanes=False))


def step(
    weights: DecoderWeights,
    tokens: Int[Array, " n"],
    index: Int[Array, ""],
    lengths: Int[Array, " n"],
    positions: Int[Array, " n"] | None,
    start: Int[Array, ""],
    caches: list[KVCache],
    how: Arithmetic,
) -> tuple[Float[Array, "d n"], list[KVCache]]:
    """Feeds the tokens number `index` (from 0) of all rows; gives the last layer's columns.

    Caches may have fewer rows: the others mean nothing, and are there to fill the lanes.

    `lengths` are tokens of each row's prompt in its cache, at least 0; `positions` are those of the
    tokens (lm/positions.py), if they rotate; `start` is the module's.
    """
    slot = jnp.arange(caches[0].keys.shape[2])[None, :]
    in_prompt = slot < start
    distances = jnp.where(in_prompt, lengths[:, None] + index - slot, start + index - slot)
    visible = jnp.where(in_prompt, slot < lengths[:, None], distances >= 0)
    bias = jnp.zeros((1, 1), jnp.float32)
    if weights.distance_bias is not None:
        bias = weights.distance_bias
    last = bias.shape[1] - 1
    bias = jnp.moveaxis(bias[:, jnp.clip(distances, 0, last)], 0, 1)
    bias = jnp.where(visible[:, None, :], bias, -jnp.inf)
    x = constrain(embed(weights, tokens, how.decoder.compute_dtype), None, "batch")
    updated, here = [], start + index
    for number, cache in enumerate(caches):
        x, filled = _step_layer(weights.layers[number], x, positions, bias, cache, here, how)
        updated.append(filled)
    return x, updated


@functools.partial(jax.jit, static_argnames="how")  # traced once for all layers, inlined by XLA
def _step_layer(
    weights: LayerWeights,
    x: Float[Array, "d n"],
    positions: Int[Array, " n"] | None,
    bias: Float[Array, "n g s"],
    cache: KVCache,
    slot: Int[Array, ""],
    how: Arithmetic,
) -> tuple[Float[Array, "d n"], KVCache]:
    """One layer of `step`, whose token lies in `slot`."""
    rows = len(cache.keys)

    def attend(query: Array, key: Array, value: Array) -> tuple[Array, KVCache]:
        written = cache.write(key[:rows, None], value[:rows, None], slot)
        return single_query_attention(query, written, bias), written

    return layer(weights, x, positions, attend, how)


def whole(vector: Array, *names: str | None) -> Array:
    """Weights of which every device has all along "embed", as in training (nn/gather.py)."""
    return constrain(vector, *(None if name == "embed" else name for name in names))


def whole_matrix(matrix: Matrix, names: tuple[str | None, ...]) -> Matrix:
    """`whole` of a matrix."""
    return matrix._replace(values=whole(matrix.values, *names))
