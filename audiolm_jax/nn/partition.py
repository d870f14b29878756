"""Logical names ("batch", "embed", ...) for the axes of parameters and activations.

A parameter is annotated where it is born (`annotate`), an activation where it is made
(`constrain`). A table of rules, active while a step is traced, says which mesh axis a name falls
on. Without rules, as on a laptop, nothing here has any effect.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax
import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array

MeshAxes = str | tuple[str, ...] | None
Rules = Mapping[str, MeshAxes]

# Annotated parameters must be creatable without a mesh; shardings are derived from the metadata.
flax.config.update("flax_always_shard_variable", False)

_ACTIVE_RULES: contextvars.ContextVar[Rules | None] = contextvars.ContextVar("rules", default=None)


@contextlib.contextmanager
def use_rules(rules: Rules | None) -> Iterator[None]:
    """Makes `rules` the table that `constrain` follows inside the `with` block."""
    token = _ACTIVE_RULES.set(rules)
    try:
        yield
    finally:
        _ACTIVE_RULES.reset(token)


def without_rules(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same, of one device, whatever rules its caller follows."""

    @functools.wraps(fn)
    def alone(*args: Any, **options: Any) -> Any:
        with use_rules(None):
            return fn(*args, **options)

    return alone


def logical_to_spec(names: tuple[str | None, ...], rules: Rules) -> PartitionSpec:
    """Translates names to mesh axes; ValueError for a name without rule or an axis used twice."""
    axes = []
    for name in names:
        if name is not None and name not in rules:
            raise ValueError(f"no rule for logical axis {name!r}; the rules know {sorted(rules)}")
        axes.append(None if name is None else rules[name])
    used = [axis for entry in axes for axis in _as_tuple(entry)]
    if len(used) != len(set(used)):
        raise ValueError(f"logical axes {names} put two dimensions on one mesh axis: {axes}")
    return PartitionSpec(*axes)


def constrain(x: Array, *names: str | None) -> Array:
    """Pins an activation's sharding; one logical name, or None, for each dimension."""
    rules = _ACTIVE_RULES.get()
    if rules is None:
        return x
    if len(names) != x.ndim:
        raise ValueError(f"{len(names)} axis names {names} for an array of {x.ndim} dimensions")
    return jax.lax.with_sharding_constraint(x, logical_to_spec(names, rules))


def on_each_device(
    fn: Callable, in_names: tuple[tuple[str | None, ...], ...], out_names: tuple[str | None, ...]
) -> Callable:
    """`fn` run by every device on its own part of the arguments, for what XLA cannot divide.

    It gives one array and must not reach across a divided dimension. A gradient with respect to an
    argument that several devices hold is summed. Names are logical, or None, of each dimension.
    """
    rules = _ACTIVE_RULES.get()
    if rules is None:
        return fn
    # A kernel does not say over which mesh axes its result varies, so that is not checked.
    return jax.shard_map(
        fn,
        in_specs=tuple(logical_to_spec(names, rules) for names in in_names),
        out_specs=logical_to_spec(out_names, rules),
        check_vma=False,
    )


def device_count(name: str) -> int:
    """Devices that a dimension of this logical name is divided over; 1 without rules."""
    rules = _ACTIVE_RULES.get()
    if rules is None:
        return 1
    return parts_along(name, jax.sharding.get_abstract_mesh(), rules)


def parts_along(name: str, mesh: Mesh | AbstractMesh, rules: Rules) -> int:
    """Parts that a mesh divides a dimension of this logical name into."""
    return math.prod(mesh.shape[axis] for axis in _as_tuple(rules[name]))


def annotate(initializer: Callable, *names: str | None) -> Callable:
    """An initializer whose parameter carries one logical name, or None, for each dimension."""
    return nnx.with_partitioning(initializer, names)


def _as_tuple(axes: MeshAxes) -> tuple[str, ...]:
    return (axes,) if isinstance(axes, str) else axes or ()
