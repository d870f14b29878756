"""Products of a matrix with many vectors at once, of which none feels how many others there are.

Vectors are columns: numbers [inputs, n] of n tokens. Multiplied by XLA's own matrix product on a
CPU, a column's last bits depend on n, and 2 to 32 columns cost many times what one costs. As a sum
of products for `LANES` columns, every column is a lane of the same loop, narrow weights are widened
within it, and eight columns cost little more than the reading of the matrix. (Sixteen at once
would have other last bits than eight, so whoever needs equal ones takes `LANES` at a time.)
"""

import math
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

LANES = 8

Tree = TypeVar("Tree")


class Matrix(NamedTuple):
    """Weights with outputs first: a column's product reads each row of them in order."""

    values: Any  # [*outputs, *inputs], any floating dtype or int8
    scale: Any = None  # float32 [*outputs], what a unit of int8 values is worth


def alone(values: Tree) -> Tree:
    """The same, computed apart from what follows.

    What a CPU fuses with what depends on shapes, and so do the last bits: a barrier on either side
    of what has the rows' shape keeps all else the same for any number of them.
    """
    return jax.lax.optimization_barrier(values)


def fill_lanes(rows: Float[Array, "..."], lanes: int) -> Float[Array, "..."]:
    """Zeros added along the first axis until there are so many rows."""
    missing = lanes - rows.shape[0]
    return alone(jnp.pad(alone(rows), [(0, missing)] + [(0, 0)] * (rows.ndim - 1)))


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
        dimensions: Any = (tuple(tuple(axis) for axis in axes), ((), ()))
        result = jax.lax.dot_general(
            values.astype(columns.dtype), columns, dimensions, preferred_element_type=jnp.float32
        )
    if matrix.scale is not None:
        result *= matrix.scale[..., None]
    return result.astype(columns.dtype if dtype is None else dtype)


def rms_normalize(
    columns: Float[Array, "*d"], scale: Float[Array, " s"], axis: int = 0
) -> Float[Array, "*d"]:
    """Unit mean square along an axis times a learned scale, computed in float32."""
    wide = columns.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(wide), axis=axis, keepdims=True)
    shape = [1] * columns.ndim
    shape[axis] = -1
    return (wide * (jax.lax.rsqrt(mean_square + 1e-6) * scale.reshape(shape))).astype(columns.dtype)
