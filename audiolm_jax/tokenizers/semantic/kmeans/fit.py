"""Fitting k-means by Lloyd's algorithm, from wherever an earlier start got to.

A step is one update of the centroids. Everything a step needs is in the state before it, so an
interrupted fit ends in the same bits as one that was not.
"""

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import StorageError
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames
from audiolm_jax.tokenizers.semantic.kmeans.config import Clustering, KmeansConfig, KmeansResult
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, Sums, measure_scale
from audiolm_jax.tokenizers.semantic.kmeans.seeding import initial_centroids, too_few_distinct
from audiolm_jax.training.distributed import is_first_host
from audiolm_jax.training.host_arrays import arrays_from_first_host
from audiolm_jax.training.metrics import MetricsWriter
from audiolm_jax.training.preemption import (
    StopRequest,
    TrainingStopped,
    reached_preemption,
    watch_signals,
)
from audiolm_jax.training.progress import Progress

STATE = "kmeans_state.npz"
_PROGRESS_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class KmeansState(Clustering):
    """All that a fit carries from step to step."""

    inertia: np.ndarray  # float64 [passes], as in `KmeansResult`
    step: int  # updates made


def fit_kmeans(
    features: Frames,
    config: KmeansConfig,
    mesh: Mesh | None = None,
    directory: Path | None = None,
    stop: StopRequest | None = None,
) -> KmeansResult:
    """Standardizes, draws the first centroids and runs Lloyd's algorithm.

    Equal arguments give equal bits on any number of equal devices and hosts, which all must call it
    with a mesh of them. `directory` keeps, of the first host, state, metrics.jsonl (`inertia`,
    `empty` clusters) and timing.jsonl, from which an interrupted fit goes on. The config's `layer`
    and `max_frames` are not read here. Raises TrainingStopped after SIGTERM or SIGINT, or when
    `stop` is noticed, with the state saved.
    """
    frames = len(features)
    config.check_available(frames)
    state = None if directory is None else _agreed_state(directory)
    block = config.block_frames
    scale = measure_scale(features, block, mesh) if state is None else Scale(state.mean, state.std)
    passes = Passes(features, scale, block, mesh)
    if state is None:
        state = KmeansState(*scale, initial_centroids(passes, config), np.zeros(0), 0)
        if directory is not None:
            keep(directory, state)
    with contextlib.ExitStack() as stack:
        records = None
        if directory is not None:
            records = _Records(directory, config, state.step, stack, stop)
        while True:
            sums = passes.lloyd(state.centroids)
            curve = np.append(state.inertia, sums.distances.mean(dtype=np.float64))
            empty = np.flatnonzero(sums.counts == 0)
            if records is not None:
                records.write(state.step, {"inertia": curve[-1], "empty": len(empty)}, frames)
            centroids = updated_centroids(passes, sums, empty)
            is_still = np.array_equal(centroids, state.centroids)
            if (is_still or state.step >= config.iterations) and not len(empty):
                return KmeansResult(*scale, state.centroids, curve, sums.counts)
            if state.step >= config.iterations + config.clusters:
                raise too_few_distinct(config, frames)
            state = KmeansState(*scale, centroids, curve, state.step + 1)
            if records is not None:
                records.save(state)


def read_state(directory: Path) -> KmeansState | None:
    """The state that an interrupted fit left."""
    kept = read_kept(directory, KmeansState)
    return None if kept is None else _state_of(kept)


def read_kept(directory: Path, kind: type) -> dict[str, np.ndarray] | None:
    """The fields of a dataclass of arrays that `keep` wrote; None if there is none."""
    path = directory / STATE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {x.name: arrays[x.name] for x in dataclasses.fields(kind)}
    except StorageError:
        raise
    except (OSError, ValueError, KeyError) as error:
        if is_shortage(error):
            raise
        raise InputError(f"{path}: damaged ({error}); delete it to fit from the start") from error


def _state_of(arrays: Mapping[str, np.ndarray]) -> KmeansState:
    values: dict[str, Any] = {**arrays, "step": int(arrays["step"])}
    return KmeansState(**values)


def _agreed_state(directory: Path) -> KmeansState | None:
    """The state that the first host finds."""

    def read() -> dict[str, np.ndarray] | None:
        state = read_state(directory)
        if state is None:
            return None
        return {n: np.asarray(x) for n, x in dataclasses.asdict(state).items()}

    arrays = arrays_from_first_host(read)
    return None if arrays is None else _state_of(arrays)


class _Records:
    """State, metrics and progress of a fit, closed by `stack`."""

    def __init__(
        self,
        directory: Path,
        config: KmeansConfig,
        step: int,
        stack: contextlib.ExitStack,
        stop: StopRequest | None,
    ) -> None:
        self._directory, self._since = directory, time.monotonic()
        # The line of a step is written before the update, and so before the state after it.
        self._writer = stack.enter_context(MetricsWriter(directory, step - 1, tensorboard=False))
        self._progress = stack.enter_context(Progress(config.iterations, _PROGRESS_SECONDS))
        self._stop: StopRequest = stack.enter_context(watch_signals(stop))

    def write(self, step: int, values: dict[str, Any], frames: int) -> None:
        self._writer.write(step, values)
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        self._writer.write_timing(step, {"seconds": seconds, "frames_per_second": frames / seconds})
        self._progress.update(step, values)

    def save(self, state: KmeansState) -> None:
        self._writer.sync()
        keep(self._directory, state)
        if self._stop.seen(reached_preemption):
            words = f"stopped, saved at step {state.step}; run again to go on"
            self._progress.note(f"{self._directory}: {words}")
            raise TrainingStopped(self._stop.exit_status)


def updated_centroids(passes: Passes, sums: Sums, empty: np.ndarray) -> Float[np.ndarray, "k d"]:
    """The means of all clusters; the j-th empty one moves to the j-th farthest frame."""
    centroids = (sums.sums / np.maximum(sums.counts, 1)[:, None]).astype(np.float32)
    if len(empty):
        farthest = np.argsort(-sums.distances, kind="stable")[: len(empty)]
        centroids[empty] = passes.standardized_rows(farthest)
    return centroids


def keep(directory: Path, state: Any) -> None:
    """Has the first host write a dataclass of arrays, for `read_kept`."""
    if not is_first_host():
        return
    with atomic_path(directory / STATE) as scratch:
        np.savez(scratch, **dataclasses.asdict(state))
