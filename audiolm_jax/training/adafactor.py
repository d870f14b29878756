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


class AdafactorState(NamedTuple):
    """Moving means of squared gradients, of 1 along each axis that they are taken over."""

    count: Array  # int32 [], completed updates
    rows: Any  # as the parameters, over the columns of each matrix
    columns: Any  # the same over its rows


class _Axes(NamedTuple):
    """A parameter that is not factored is a matrix of a single column, which comes to the same."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def scale_by_adafactor() -> optax.GradientTransformation:
    """Gradients over their root mean square, of 1 at most, times the parameter's, layer by layer.

    Not factored are sides below 128 and what is neither two-dimensional nor has one axis "embed".
    """

    def init(params: Any) -> AdafactorState:
        rows = _map(lambda axes, p: _mean(jnp.zeros_like(p), axes.columns), params)
        columns = _map(lambda axes, p: _mean(jnp.zeros_like(p), axes.rows), params)
        return AdafactorState(jnp.zeros((), jnp.int32), rows, columns)

    def update(grads: Any, state: AdafactorState, params: Any = None) -> tuple[Any, AdafactorState]:
        count = state.count + 1
        fresh = count.astype(jnp.float32) ** -_DECAY_EXPONENT

        def average(over: str) -> Callable[..., Array]:
            def averaged(axes: _Axes, _: Array, grad: Array, moment: Array) -> Array:
                square = _mean(jnp.square(grad) + _SQUARE_FLOOR, getattr(axes, over))
                return (1 - fresh) * moment + fresh * square

            return averaged

        def scale(axes: _Axes, param: Array, grad: Array, rows: Array, columns: Array) -> Array:
            scaled = grad * (rows / _mean(rows, axes.rows)) ** -0.5 * columns**-0.5
            own = (*axes.rows, *axes.columns)
            scaled = scaled / jnp.maximum(1.0, _root_mean_square(scaled, own))
            return scaled * jnp.maximum(_SCALE_FLOOR, _root_mean_square(param, own))

        rows = _map(average("columns"), params, grads, state.rows)
        columns = _map(average("rows"), params, grads, state.columns)
        return _map(scale, params, grads, rows, columns), AdafactorState(count, rows, columns)

    return optax.GradientTransformation(init, update)


def _axes(shape: tuple[int, ...], names: tuple[str | None, ...]) -> _Axes:
    own = tuple(i for i in range(len(shape)) if names[i] != "layers")
    rows = tuple(i for i in own if names[i] == "embed")
    if not rows and len(own) == 2:
        rows = own[:1]
    columns = tuple(i for i in own if i not in rows)
    sides = [math.prod(shape[i] for i in side) for side in (rows, columns)]
    return _Axes(rows, columns) if rows and min(sides) >= _SHORTEST_SIDE else _Axes(own, ())


def _map(function: Callable[..., Array], params: Any, *others: Any) -> Any:
    """`function` of each parameter's axes and its arrays; results carry the parameter's names."""

    def apply(param: Any, *rest: Any) -> Any:
        if not isinstance(param, nnx.Variable):
            return function(_axes(param.shape, (None,) * param.ndim), param, *rest)
        value = param.get_value()
        names = param.get_metadata().get("out_sharding") or (None,) * value.ndim
        arrays = (value, *(variable.get_value() for variable in rest))
        return param.replace(function(_axes(value.shape, tuple(names)), *arrays))

    return jax.tree.map(apply, params, *others, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    return jnp.mean(x, axes, keepdims=True) if axes else x


def _root_mean_square(x: Array, axes: tuple[int, ...]) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(x), axes, keepdims=True))
