"""The working copy of sharded weights: cast first, then gathered, so that fewer bytes travel."""

import functools
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from audiolm_jax.nn.partition import constrain

Module = TypeVar("Module", bound=nnx.Module)
Names = tuple[str | None, ...]


def gathered(module: Module, dtype: str) -> Module:
    """The module with every weight whole along "embed" and its matrices in `dtype`.

    Left to itself the compiler may split activations along this axis, which shards parameters only
    (training/mesh.py). The gradient is reduced in `dtype` to the shards. Vectors stay float32.
    """

    def gather(variable: nnx.Variable) -> nnx.Variable:
        value = variable[...]
        names = variable.get_metadata().get("out_sharding")
        if names is None:
            return variable
        names = tuple(names)[len(names) - value.ndim :]  # a scan over layers takes off the first
        return variable.replace(_gather(value, names, dtype if value.ndim > 1 else "float32"))

    return jax.tree.map(gather, module, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(value: Array, names: Names, dtype: str) -> Array:
    whole = tuple(None if name == "embed" else name for name in names)
    return constrain(value.astype(jnp.dtype(dtype)), *whole)


def _forward(value: Array, names: Names, dtype: str) -> tuple[Array, None]:
    return _gather(value, names, dtype), None


def _backward(names: Names, _dtype: str, _kept: None, gradient: Array) -> tuple[Array]:
    return (constrain(gradient, *names).astype(jnp.float32),)


_gather.defvjp(_forward, _backward)
