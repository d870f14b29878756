"""Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) by the names of axes, as in t5x.

Each layer of a stack ("layers") is treated by itself, and a kernel of several dimensions as the
matrix that it stands for: "embed" against all others.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

_SHORTEST_SIDE = 128  # of a matrix that is factored
_DECAY_EXPONENT = 0.8  # of the moments: they keep a share of 1 - step ** -0.8
_SQUARE_FLOOR = 1e-30  # added to the square of a gradient
_SCALE_FLOOR = 1e-3  # of a parameter, so that zeros can grow

Axes = tuple[int, ...]


class AdafactorState(NamedTuple):
    """Moving means of squared gradients, of 1 along each axis that they are taken over."""

    completed: Array  # int32 [], updates
    rows: Any  # as the parameters, over the columns of each matrix
    columns: Any  # the same over its rows


def scale_by_adafactor() -> optax.GradientTransformation:
    """Gradients over their root mean square, of 1 at most, times the parameter's, layer by layer.

    Not factored are sides below 128 and what is neither two-dimensional nor has one axis "embed".
    """

    def init(params: Any) -> AdafactorState:
        row_moments = _map(lambda rows, columns, p: _mean(jnp.zeros_like(p), columns), params)
        column_moments = _map(lambda rows, columns, p: _mean(jnp.zeros_like(p), rows), params)
        return AdafactorState(jnp.zeros((), jnp.int32), row_moments, column_moments)

    def update(grads: Any, state: AdafactorState, params: Any = None) -> tuple[Any, AdafactorState]:
        step = state.completed + 1
        fresh = step.astype(jnp.float32) ** -_DECAY_EXPONENT

        def average(moment: Array, grad: Array, over: Axes) -> Array:
            return (1 - fresh) * moment + fresh * _mean(jnp.square(grad) + _SQUARE_FLOOR, over)

        def scale(
            rows: Axes, columns: Axes, param: Array, grad: Array, v: Array, w: Array
        ) -> Array:
            scaled = grad * (v / _mean(v, rows)) ** -0.5 * w**-0.5
            sizes = (jnp.sqrt(_mean(jnp.square(x), rows + columns)) for x in (scaled, param))
            of_update, of_param = sizes
            return scaled / jnp.maximum(1.0, of_update) * jnp.maximum(_SCALE_FLOOR, of_param)

        by_row = _map(lambda _, over, __, g, v: average(v, g, over), params, grads, state.rows)
        by_column = _map(
            lambda over, _, __, g, w: average(w, g, over), params, grads, state.columns
        )
        scaled = _map(scale, params, grads, by_row, by_column)
        return scaled, AdafactorState(step, by_row, by_column)

    return optax.GradientTransformation(init, update)


def _axes(shape: tuple[int, ...], names: tuple[str | None, ...]) -> tuple[Axes, Axes]:
    """Rows and columns; what is not factored is one column, which comes to the same."""
    own = tuple(i for i in range(len(shape)) if names[i] != "layers")
    rows = tuple(i for i in own if names[i] == "embed") or (own[:1] if len(own) == 2 else ())
    columns = tuple(i for i in own if i not in rows)
    sides = [math.prod(shape[i] for i in side) for side in (rows, columns)]
    return (rows, columns) if rows and min(sides) >= _SHORTEST_SIDE else (own, ())


def _map(function: Callable[..., Array], params: Any, *others: Any) -> Any:
    """`function` of each parameter's rows, columns and arrays; results carry its names."""

    def apply(param: Any, *rest: Any) -> Any:
        if not isinstance(param, nnx.Variable):
            return function(*_axes(param.shape, (None,) * param.ndim), param, *rest)
        arrays = [variable.get_value() for variable in (param, *rest)]
        names = param.get_metadata().get("out_sharding") or (None,) * arrays[0].ndim
        return param.replace(function(*_axes(arrays[0].shape, tuple(names)), *arrays))

    return jax.tree.map(apply, params, *others, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _mean(x: Array, axes: Axes) -> Array:
    return jnp.mean(x, axes, keepdims=True) if axes else x
