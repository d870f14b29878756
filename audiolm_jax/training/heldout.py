"""Means over the held-out data."""

import math
from collections.abc import Callable, Iterable

import jax
from jax.sharding import Mesh

from audiolm_jax.errors import InputError
from audiolm_jax.training.mesh import to_global
from audiolm_jax.training.preemption import StopRequest
from audiolm_jax.training.state import Batch, Sums, TrainState


def heldout_means(
    evaluate: Callable[[TrainState, Batch], Sums],
    state: TrainState,
    batches: Iterable[Batch],
    mesh: Mesh | None,
    stop: StopRequest,
    progress: Callable[[int], None],
) -> dict[str, float] | None:
    """Means over this host's held-out batches, each number told to `progress`; None if stopped."""
    totals: dict[str, float] = {}
    counts: dict[str, float] = {}
    for number, batch in enumerate(batches):
        if stop.signal is not None:
            return None
        progress(number)
        sums = jax.device_get(evaluate(state, to_global(batch, mesh)))
        for name in sums.totals:
            totals[name] = totals.get(name, 0.0) + float(sums.totals[name])
            counts[name] = counts.get(name, 0.0) + float(sums.counts[name])
    if not totals:
        raise InputError("held-out data: no batch; hold out more clips, or use a smaller batch")
    return {name: totals[name] / counts[name] if counts[name] else math.nan for name in totals}
