"""Equal layers as one module with a leading axis, run one after the other.

Made for training. `unstack` gives layers of their own to whoever runs only some of them.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import jax
from flax import nnx
from jaxtyping import Array

Remat = Literal["none", "dots", "products", "kernels", "full"]
Layer = TypeVar("Layer", bound=nnx.Module)
Tree = TypeVar("Tree")

# Names of an attention kernel's results, so that a backward pass need not run it again.
KERNEL_RESULTS = ("flash_mixed", "flash_logsumexp")
# Names of products whose results are dear to compute again.
PRODUCT_RESULTS = ("query", "key", "value", "gate", "up")

_KERNELS = jax.checkpoint_policies.save_only_these_names(*KERNEL_RESULTS)
_POLICIES = {
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable, _KERNELS
    ),
    "products": jax.checkpoint_policies.save_only_these_names(*KERNEL_RESULTS, *PRODUCT_RESULTS),
    "kernels": _KERNELS,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def init_stack(make_layer: Callable[[Array], Layer], key: Array, layers: int) -> Layer:
    """One module with `layers` initializations along axis 0, for `run_stack` and `unstack`."""
    stacked = jax.vmap(make_layer)(jax.random.split(key, layers))
    # By ourselves: nnx.vmap's transform_metadata drops the axis silently in tree mode.
    _rename_axes(stacked, lambda names: ("layers", *names))
    return stacked


def run_stack(
    apply: Callable[[Tree, Array, Any], Array],
    stacked: Tree,
    x: Array,
    per_layer: Any = None,
    remat: Remat = "none",
    scan: bool = True,
) -> Array:
    """Applies the layers: (layer, x, its entry of `per_layer`, along axis 0) -> x of equal shape.

    The backward pass recomputes what the policy `remat` does not save. With `scan` one layer is
    compiled for all; otherwise each is compiled by itself, and what the backward pass keeps is not
    copied into one array and out again.
    """

    def body(x: Array, inputs: tuple[Tree, Any]) -> tuple[Array, None]:
        layer, extra = inputs
        return apply(layer, x, extra), None

    if remat != "none":
        # A scan already keeps the compiler from merging the recomputation with the original.
        body = jax.checkpoint(body, policy=_POLICIES[remat], prevent_cse=not scan)
    if scan:
        return jax.lax.scan(body, x, (stacked, per_layer))[0]
    for inputs in _each(stacked, (stacked, per_layer)):
        x, _ = body(x, inputs)
    return x


def unstack(stacked: Layer) -> list[Layer]:
    """The layers as modules with arrays of their own; the inverse of stacking."""
    layers = list(_each(stacked, stacked))
    for layer in layers:
        _rename_axes(layer, lambda names: names[1:])
    return layers


def _each(stacked: Any, tree: Tree) -> Iterator[Tree]:
    """The part of each layer of a pytree with one entry per layer along axis 0."""
    for index in range(jax.tree.leaves(stacked)[0].shape[0]):
        yield jax.tree.map(lambda leaf, index=index: leaf[index], tree)


def _rename_axes(
    module: nnx.Module, rename: Callable[[tuple[str | None, ...]], tuple[str | None, ...]]
) -> None:
    is_variable = lambda leaf: isinstance(leaf, nnx.Variable)  # noqa: E731
    for variable in jax.tree.leaves(nnx.state(module), is_leaf=is_variable):
        if names := variable.get_metadata().get("out_sharding"):
            variable.set_metadata(out_sharding=rename(tuple(names)))
