"""One update of parameters by their gradients, as every trainer makes it."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import optax

Params = TypeVar("Params", bound=Mapping[str, Any])  # an `nnx.State`, or a dict of several


def apply_gradients(
    optimizer: optax.GradientTransformation, params: Params, opt_state: Any, grads: Params
) -> tuple[Params, Any, dict[str, jax.Array]]:
    """New parameters, new state of the optimizer, and the `norms` of both sides of the update."""
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    return params, opt_state, norms(grads, params)


def norms(grads: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """`grad_norm` and `param_norm`, global and as `<norm>/<module>` of each direct module."""
    values = {}
    for name, tree in (("grad_norm", grads), ("param_norm", params)):
        values[name] = optax.tree.norm(tree)
        values |= {f"{name}/{group}": optax.tree.norm(part) for group, part in tree.items()}
    return values


def moving_average(average: Params, params: Params, decay: float) -> Params:
    """decay * average + (1 - decay) * params."""
    # Named the other way round, the sum has its terms in this order: a fused multiply and add
    # rounds one of them only, and a run must go on as it began.
    return optax.incremental_update(average, params, decay)
