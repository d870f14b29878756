"""What every trainer is made of: one kind of state, and four pure functions over it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

Batch = Any  # a pytree of arrays whose leading dimension is the global batch
Metrics = Mapping[str, Array]  # scalars


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes, as one pytree.

    Attributes:
      step: int32 [], completed steps.
      params: trained by gradient; an `nnx.State`, or a dict of several (generator, discriminator).
      rest: not trained by gradient: EMA codebooks and other statistics; {} if there are none.
      opt_state: optax state of the same grouping as `params`.
      ema: moving average of `params`, or {} if the trainer keeps none.
    """

    step: Array
    params: Any
    rest: Any
    opt_state: Any
    ema: Any


@dataclasses.dataclass(frozen=True)
class Sums:
    """Held-out metrics that add up over batches: `totals[name] / counts[name]` is the mean."""

    totals: Metrics
    counts: Metrics


jax.tree_util.register_dataclass(Sums, data_fields=["totals", "counts"], meta_fields=[])


@dataclasses.dataclass(frozen=True)
class TrainProgram:
    """A trainer as pure functions: the loop jits them, shards them and feeds them.

    Attributes:
      init: key -> state. Runs under `jax.jit`, so it may be `eval_shape`d.
      step: (state, batch, key) -> (state, metrics). `key` is already unique to the step. All sums
        over the batch are global sums, so the result does not depend on the mesh.
      evaluate: (state, batch) -> Sums, deterministic.
      export: state -> arrays of the model folder by dotted name (numpy, float32 or integer).
      verdict: held-out means -> why training on is in vain, or None if it is not.
    """

    init: Callable[[Array], TrainState]
    step: Callable[[TrainState, Batch, Array], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, Batch], Sums]
    export: Callable[[TrainState], dict[str, np.ndarray]]
    verdict: Callable[[Mapping[str, float]], str | None] = lambda heldout: None
