"""Causal attention with T5 relative bias for the TPU, block by block: no scores in main memory.

Softmax does not change when a constant is added to a row of scores, so the bias of the far
distance is taken off the whole table: blocks of keys at least `max_distance` away carry none. The
rest lies in two square tiles per head, on the diagonal (with the causal mask) and beside it, made
here by ordinary differentiable code: the kernels (FlashAttention: online softmax, recomputation
from the log-sum-exp) gather nothing. They run on a TPU, or anywhere with `interpret`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from audiolm_jax.errors import InputError
from audiolm_jax.nn.flash.cost import FlashKernel, Kind
from audiolm_jax.nn.flash.kernels import MASKED, backward_kernel, forward_kernel
from audiolm_jax.nn.partition import on_each_device
from audiolm_jax.nn.position import causal_bias
from audiolm_jax.nn.stack import KERNEL_RESULTS

LANES = 128


def flash_causal_attention(
    query: Float[Array, "b l h k"],
    key: Float[Array, "b l h k"],
    value: Float[Array, "b l h k"],
    distance_bias: Float[Array, "h n"] | None,
    *,
    block: int = 384,
    interpret: bool = False,
) -> Float[Array, "b l h k"]:
    """`attention.causal_attention` as one TPU kernel forward and one backward.

    Of bfloat16 or float32 arrays; under partition rules every device takes its part of batch and
    heads. A `block` of scores has a multiple of 128 positions, raised to what the bias needs.
    `interpret` runs the kernels as ordinary operations, on any backend: slow, for tests.
    """
    if block < LANES or block % LANES:
        raise InputError(f"block = {block}: expected a positive multiple of {LANES}")
    length, heads = query.shape[1:3]
    if distance_bias is None:
        distance_bias = jnp.zeros((heads, 1))
    distance_bias = distance_bias[:, :length].astype(jnp.float32)
    tile = _round_up(max(distance_bias.shape[1] - 2, 1), LANES)
    block = _round_up(block, tile)
    attend = on_each_device(
        functools.partial(_head_by_head, block=block, interpret=interpret),
        (("batch", "length", "heads", "kv"),) * 3 + (("heads", None, None, None),),
        ("batch", "length", "heads", "kv"),
    )
    return attend(query, key, value, bias_tiles(distance_bias, tile))


def bias_tiles(distance_bias: Float[Array, "h n"], tile: int) -> Float[Array, "h 2 tile tile"]:
    """All of a bias by distance, n - 2 <= tile, that softmax can see, as [key, query] tiles.

    For each head the tile on the diagonal, masked where the key lies in the query's future, and the
    tile of the keys just before; both less the bias of the far distance.
    """
    square = causal_bias(distance_bias - distance_bias[:, -1:], 2 * tile)
    visible = np.tril(np.ones((tile, tile), bool))
    diagonal = jnp.where(visible[None], square[:, :tile, :tile], MASKED)
    return jnp.stack([diagonal, square[:, tile:, :tile]], axis=1).swapaxes(2, 3)


def _head_by_head(
    query: Array, key: Array, value: Array, tiles: Array, *, block: int, interpret: bool
) -> Array:
    """[b, l, h, k] to the kernels' [b, h, k, l] and back."""
    inner = (
        checkpoint_name(jnp.einsum("blhk->bhkl", x), name)
        for x, name in ((query, "query"), (key, "key"), (value, "value"))
    )
    return jnp.einsum("bhkl->blhk", _attend(*inner, tiles, block, interpret))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(
    query: Array, key: Array, value: Array, tiles: Array, block: int, interpret: bool
) -> Array:
    return _run("forward", (query, key, value, tiles), block, interpret)[0]


def _forward(
    query: Array, key: Array, value: Array, tiles: Array, block: int, interpret: bool
) -> tuple[Array, tuple[Array, ...]]:
    results = _run("forward", (query, key, value, tiles), block, interpret)
    mixed, logsumexp = map(checkpoint_name, results, KERNEL_RESULTS)
    return mixed, (query, key, value, tiles, mixed, logsumexp)


def _backward(
    block: int, interpret: bool, residuals: tuple[Array, ...], d_mixed: Array
) -> tuple[Array, ...]:
    return _run("backward", (*residuals, d_mixed), block, interpret)


_attend.defvjp(_forward, _backward)


def _run(kind: Kind, operands: tuple[Array, ...], block: int, interpret: bool) -> Any:
    """One of the two kernels, a program for each head of each sequence.

    The last block of a sequence may reach beyond its end, where a kernel finds anything: padding
    the arrays themselves would move each of them through main memory once more.
    """
    query, key, value, tiles = operands[:4]
    batch, heads, width, length = query.shape
    whole, tile = _round_up(length, block), tiles.shape[-1]
    sequence = pl.BlockSpec((None, None, width, whole), lambda h, b: (b, h, 0, 0))
    tile_pair = pl.BlockSpec((None, 2, tile, tile), lambda h, b: (h, 0, 0, 0))
    row = pl.BlockSpec((None, None, 1, whole), lambda h, b: (b, h, 0, 0))
    inputs = [sequence, sequence, sequence, tile_pair]
    body: Callable[..., None]
    if kind == "forward":
        body, in_specs, out_specs = forward_kernel, inputs, [sequence, row]
        row_shape = jax.ShapeDtypeStruct((batch, heads, 1, length), jnp.float32)
        out_shape = [jax.ShapeDtypeStruct(query.shape, value.dtype), row_shape]
        scratch = [pltpu.VMEM((whole, width), key.dtype)]
    else:
        body, in_specs, out_specs = backward_kernel, [*inputs, sequence, row, sequence], inputs
        out_shape = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands[:4]]
        scratch = [pltpu.VMEM((size, whole), jnp.float32) for size in (1, width)]
    kernel = FlashKernel(kind, batch, heads, length, width, block)
    cost = kernel.cost(query.dtype.itemsize)
    return pl.pallas_call(
        functools.partial(body, length=length, block=block),
        grid=(heads, batch),
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=scratch,
        interpret=interpret,
        name=kernel.name,
        cost_estimate=pl.CostEstimate(
            flops=cost.operations, transcendentals=cost.exponentials, bytes_accessed=cost.hbm_bytes
        ),
        # The gradient of a head's tiles is summed over the batch, in order.
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
    )(*operands)


def _round_up(x: int, multiple: int) -> int:
    return -(-x // multiple) * multiple
