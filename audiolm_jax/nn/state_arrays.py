"""The arrays of an `nnx.State` by dotted name, as model folders hold them, and back."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from audiolm_jax.errors import InputError


def named_leaves(state: Any) -> dict[str, Any]:
    """Arrays of a state (or of nested dicts of arrays), where and however sharded they are."""
    pure = nnx.to_pure_dict(state) if isinstance(state, nnx.State) else state
    return {
        ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path): x
        for path, x in jax.tree_util.tree_leaves_with_path(pure)
    }


def flatten_state(state: Any) -> dict[str, np.ndarray]:
    """Arrays of a state (or of nested dicts of arrays), on the host."""
    return {name: np.asarray(x) for name, x in named_leaves(state).items()}


def flatten_shapes(state: nnx.State) -> dict[str, tuple[int, ...]]:
    """Shapes, in the order of the state's leaves."""
    return {name: tuple(x.shape) for name, x in named_leaves(state).items()}


def unflatten_into(
    state: nnx.State,
    arrays: dict[str, np.ndarray],
    where: str,
    place: Callable[[np.ndarray], Any] = jnp.asarray,
) -> nnx.State:
    """A state of the same structure holding `arrays`, which must match it name by name.

    `state` may be abstract; `arrays` are as `flatten_state` gives them, from the folder `where`,
    and each becomes `place(array)`. InputError if a name is missing or unknown or a shape differs.
    """
    leaves = iter(leaves_of(flatten_shapes(state), arrays, where, place))
    return jax.tree.map(lambda _: next(leaves), state)


def leaves_of(
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Mapping[str, np.ndarray],
    where: str,
    place: Callable[[np.ndarray], Any],
) -> list[Any]:
    """`place(array)` of every name in the order of the shapes, to which arrays from the folder
    `where` must fit as in `unflatten_into`."""
    if missing := sorted(shapes.keys() - arrays.keys()):
        raise InputError(f"{where}: array {missing[0]!r} is missing ({len(missing)} in all)")
    if unknown := sorted(arrays.keys() - shapes.keys()):
        raise InputError(f"{where}: unknown array {unknown[0]!r} ({len(unknown)} in all)")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            words = f"has shape {arrays[name].shape}, the config needs {shape}"
            raise InputError(f"{where}: array {name!r} {words}")
    return [place(arrays[name]) for name in shapes]
