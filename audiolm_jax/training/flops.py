"""Floating-point operations of a function, counted in its jaxpr: matrix products, convolutions.

Everything else counts nothing: what is left is the work of a matrix unit. Loops count their trips,
conditionals their most expensive branch (of branches for kinds of devices, the default one), a
Pallas kernel the operations that it states itself. What no result depends on counts nothing, such
as the gradient of a constant kernel: the compiler leaves it out too.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval


def count_flops(fn: Callable[..., Any], *arguments: Any) -> float:
    """Operations of one call with arrays or shapes; a multiplication and an addition are two."""
    jaxpr = jax.make_jaxpr(fn)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _jaxpr_flops(needed)


def _jaxpr_flops(jaxpr: core.Jaxpr) -> float:
    return float(sum(_equation_flops(equation) for equation in jaxpr.eqns))


def _equation_flops(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    match name:
        case "dot_general":
            return _dot_flops(equation)
        case "conv_general_dilated":
            return _convolution_flops(equation)
        case "ragged_dot" | "ragged_dot_general":
            raise ValueError(f"{name}: its work depends on values and cannot be counted")
        case "scan":
            return params["length"] * _jaxpr_flops(params["jaxpr"].jaxpr)
        case "while":
            body = sum(_jaxpr_flops(params[of].jaxpr) for of in ("body_jaxpr", "cond_jaxpr"))
            if body:
                raise ValueError("a loop without a known number of trips holds matrix products")
            return 0.0
        case "cond":
            branches = params["branches"]
            if platforms := params.get("branches_platforms"):  # the default is the model itself
                branches = [branches[platforms.index(None)]]
            return max(_jaxpr_flops(branch.jaxpr) for branch in branches)
        case "shard_map":
            mesh = params["mesh"]
            shards = math.prod(mesh.shape[axis] for axis in params["newly_manual_axes"])
            return shards * _jaxpr_flops(params["jaxpr"])
        case "pallas_call":
            if params["cost_estimate"] is None:
                raise ValueError("a Pallas kernel without cost_estimate cannot be counted")
            return float(params["cost_estimate"].flops)
        case _:  # a call of whatever kind, or an operation with no jaxpr inside
            return sum((_jaxpr_flops(inner) for inner in _called(equation)), 0.0)


def _called(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    # The forward of a function with its own derivative; the derivatives' jaxprs are not run here.
    for key in ("call_jaxpr", "fun_jaxpr"):
        if key in equation.params:
            inner = equation.params[key]
            return [getattr(inner, "jaxpr", inner)]  # without the constants, if it is closed
    return list(core.jaxprs_in_params(equation.params))


def _dot_flops(equation: core.JaxprEqn) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _shape(equation.invars[0])
    return 2.0 * math.prod(_shape(equation.outvars[0])) * math.prod(left[i] for i in contracted)


def _convolution_flops(equation: core.JaxprEqn) -> float:
    """Products with real inputs only: neither padding nor the zeros of a dilated input count."""
    params = equation.params
    numbers = params["dimension_numbers"]
    left, right, out = map(_shape, (*equation.invars[:2], equation.outvars[0]))
    specs = (numbers.lhs_spec, left), (numbers.rhs_spec, right), (numbers.out_spec, out)
    sizes = [[shape[axis] for axis in spec] for spec, shape in specs]
    # A kernel's input features are those of one group already.
    products = sizes[2][0] * sizes[2][1] * sizes[1][1]
    rules = (params[key] for key in ("window_strides", "padding", "lhs_dilation", "rhs_dilation"))
    for dimension in zip(*(own[2:] for own in sizes), *rules, strict=True):
        products *= _real_products(*dimension)
    return 2.0 * products


def _shape(variable: Any) -> tuple[int, ...]:  # a variable or a literal of a jaxpr
    return variable.aval.shape


def _real_products(
    inputs: int, taps: int, outputs: int, stride: int, padding: tuple[int, int],
    input_dilation: int, tap_dilation: int,
) -> int:  # fmt: skip
    """How many pairs of an output and a tap meet an input along one dimension."""
    total = 0
    # One after the other along the shorter side, whole rows along the longer one.
    long, short = max(outputs, taps), min(outputs, taps)
    scales = (stride, tap_dilation) if outputs >= taps else (tap_dilation, stride)
    positions = np.arange(long, dtype=np.int64) * scales[0] - padding[0]
    for step in range(short):
        at = positions + step * scales[1]
        inside = (at >= 0) & (at <= (inputs - 1) * input_dilation)
        total += int(np.count_nonzero(inside & (at % input_dilation == 0)))
    return total
