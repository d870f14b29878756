"""One pass over the held-out batches: what it costs is their number, and it can be cut short."""

import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax

from audiolm_jax.data.prefetch import prefetch
from audiolm_jax.errors import InputError
from audiolm_jax.training.state import Batch, Sums, TrainState

READY_BATCHES = 2  # on the devices, ahead of what they compute


def heldout_means(
    evaluate: Callable[[TrainState, Batch], Sums],
    state: TrainState,
    batches: Callable[[], Iterable[Batch]],
    stops: Callable[[int], bool],
) -> dict[str, float] | None:
    """Each metric's mean over all batches, which a thread puts on the devices; NaN where nothing
    counts. None if `stops`, asked before each batch with its number, cut the pass short."""
    totals: dict[str, float] = {}
    counts: dict[str, float] = {}

    def add(sums: Any) -> None:
        sums = jax.device_get(sums)
        for name in sums.totals:
            totals[name] = totals.get(name, 0.0) + float(sums.totals[name])
            counts[name] = counts.get(name, 0.0) + float(sums.counts[name])

    before = None  # asked for only once the devices have the next batch to compute
    with contextlib.closing(prefetch(lambda: iter(batches()), READY_BATCHES)) as ready:
        for number, batch in enumerate(ready):
            if stops(number):
                return None
            sums = evaluate(state, batch)
            if before is not None:
                add(before)
            before = sums
    if before is None:
        raise InputError("held-out data: no batch; hold out more clips or shrink the batch")
    add(before)
    return {n: totals[n] / counts[n] if counts[n] else math.nan for n in totals}
