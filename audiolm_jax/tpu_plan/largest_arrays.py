"""The largest arrays that a traced function writes, whatever a compiler makes of the rest."""

import math
from typing import Any

from jax.extend import core

# Their results are written to memory as a rule; everything else may be fused away.
_WRITERS = frozenset(
    {"dot_general", "conv_general_dilated", "gather", "pallas_call", "scan", "sort", "while"}
)


def largest_results(jaxpr: core.Jaxpr, count: int) -> list[tuple[int, str, str]]:
    """Results of products, loops, kernels and gathers, the largest first, equal ones once: bytes
    over all devices, dtype and shape, and the operation within its scopes."""
    found: dict[tuple[str, str], int] = {}
    _collect(jaxpr, "", found)
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return [(size, shape, origin) for (shape, origin), size in ordered[:count]]


def _collect(jaxpr: core.Jaxpr, scope: str, found: dict[tuple[str, str], int]) -> None:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        stack = str(equation.source_info.name_stack)
        inner = "/".join(part for part in (scope, stack) if part)
        if name in _WRITERS:
            for variable in equation.outvars:
                aval: Any = variable.aval
                shape = f"{aval.dtype}[{','.join(map(str, aval.shape))}]"
                size = math.prod(aval.shape) * aval.dtype.itemsize
                found[shape, f"{inner}/{name}".lstrip("/")] = size
        if name != "pallas_call":  # its inside lives on the chip
            for called in core.jaxprs_in_params(equation.params):
                _collect(called, inner, found)
