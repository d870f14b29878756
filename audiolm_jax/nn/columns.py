"""Products of a matrix with many vectors at once, of which none feels how many others there are.

Vectors are columns: numbers [inputs, n] of n tokens. Multiplied by XLA's own matrix product on a
CPU, a column's last bits depend on n, and 2 to 32 columns cost many times what one costs. As a sum
of products for `LANES` columns, every column is a lane of the same loop, narrow weights are widened
within it, and eight columns cost little more than the reading of the matrix. (Sixteen at once
would have other last bits than eight, so whoever needs equal ones takes `LANES` at a time.)
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

LANES = 8


class Matrix(NamedTuple):
    """Weights with outputs first: a column's product reads each row of them in order."""

    values: Array  # [*outputs, *inputs], any floating dtype or int8
    scale: Array | None = None  # float32 [*outputs], what a unit of int8 values is worth


def fill_lanes(columns: Shaped[Array, "*d n"]) -> Shaped[Array, "*d m"]:
    """Zeros added until there is a multiple of `LANES` columns.

    Behind a barrier: where the compiler knows which columns are zero it leaves them out.
    """
    missing = -columns.shape[-1] % LANES
    filled = jnp.pad(columns, [(0, 0)] * (columns.ndim - 1) + [(0, missing)])
    return jax.lax.optimization_barrier(filled)


def product(
    matrix: Matrix, columns: Float[Array, "*i n"], by_lanes: bool, dtype: DTypeLike | None = None
) -> Array:
    """The product [*outputs, n] over all dimensions of the columns but the last.

    It is of the columns' dtype unless told otherwise. `by_lanes` sums in float32, as described
    above; otherwise it is the backend's matrix product.
    """
    values = matrix.values
    inner = columns.ndim - 1
    outputs, n = values.shape[: values.ndim - inner], columns.shape[-1]
    if by_lanes:
        flat = values.reshape(math.prod(outputs), -1).astype(jnp.float32)
        wide = columns.reshape(-1, n).astype(jnp.float32)
        result = jnp.sum(flat[:, :, None] * wide[None], axis=1).reshape(*outputs, n)
    else:
        axes = range(len(outputs), values.ndim), range(inner)
        dimensions = (tuple(tuple(axis) for axis in axes), ((), ()))
        result = jax.lax.dot_general(
            values.astype(columns.dtype), columns, dimensions, preferred_element_type=jnp.float32
        )
    if matrix.scale is not None:
        result *= matrix.scale[..., None]
    return result.astype(columns.dtype if dtype is None else dtype)


def ordered_sum(shares: Float[Array, "..."]) -> Float[Array, "..."]:
    """Sum over the last axis of up to 2^18 numbers in [0, 1], float32, right to 2^-25 of each.

    The order in which a float sum is taken, and so its last bits, depends on the shape of the
    array. Here whole numbers are summed, high and low digits apart: no order changes those.
    """
    scaled = shares * 4096
    high = jnp.floor(scaled)
    low = jnp.round((scaled - high) * 4096)
    sums = (jnp.sum(digits.astype(jnp.int32), axis=-1) for digits in (high, low))
    total_high, total_low = (total.astype(jnp.float32) for total in sums)
    return total_high / 4096 + total_low / 4096**2


def rms_normalize(
    columns: Float[Array, "*d"], scale: Float[Array, " s"], axis: int = 0
) -> Float[Array, "*d"]:
    """Unit mean square along an axis times a learned scale, computed in float32."""
    wide = columns.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(wide), axis=axis, keepdims=True)
    shape = [1] * columns.ndim
    shape[axis] = -1
    return (wide * (jax.lax.rsqrt(mean_square + 1e-6) * scale.reshape(shape))).astype(columns.dtype)
