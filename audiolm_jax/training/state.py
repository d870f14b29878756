"""What every trainer is made of: one kind of state, and pure functions over it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from audiolm_jax.types import Array

Batch = Any  # a pytree of arrays whose leading dimension is the global batch
Metrics = Mapping[str, jax.Array]  # scalars


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes, as one pytree."""

    step: Any  # int32 [], completed steps
    params: Any  # trained by gradient: an `nnx.State`, or a dict of several
    rest: Any  # not trained by gradient: EMA codebooks and other statistics; {} if there are none
    opt_state: Any  # optax's, of the same grouping as `params`
    ema: Any  # moving average of `params`; {} if the trainer keeps none


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
    """Held-out metrics that add up over batches: `totals[name] / counts[name]` is the mean."""

    totals: Mapping[str, Any]  # scalars
    counts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TrainProgram:
    """A trainer as pure functions: the loop jits them, shards them and feeds them."""

    # key -> state. Runs under `jax.jit`, so it may be `eval_shape`d.
    init: Callable[[jax.Array], TrainState]
    # (state, batch, key) -> (state, metrics). The key is already unique to the step. All sums over
    # the batch are global sums, so the result does not depend on the mesh.
    step: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Batch], Sums]  # deterministic
    # Arrays of the model folder by dotted name, float32 or integer, sharded as they are there.
    export: Callable[[TrainState], Mapping[str, Array]]
    # Held-out means -> why training on is in vain, or None if it is not.
    verdict: Callable[[Mapping[str, float]], str | None] = lambda heldout: None
