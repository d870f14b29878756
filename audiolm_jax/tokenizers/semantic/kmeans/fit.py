"""Fitting k-means: mini-batches, then Lloyd's algorithm, from wherever an earlier start got to.

A step is one update of the centroids. Everything a step needs is in the state before it, and its
random numbers follow from seed and number of the step, so an interrupted fit ends in the same bits
as one that was not.
"""

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig, KmeansResult
from audiolm_jax.tokenizers.semantic.kmeans.frames import ArrayFrames, FrameSource
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, Sums, measure_scale
from audiolm_jax.tokenizers.semantic.kmeans.seeding import initial_centroids
from audiolm_jax.training.metrics import MetricsWriter
from audiolm_jax.training.preemption import StopRequest, TrainingStopped, watch_signals
from audiolm_jax.training.progress import Progress

STATE = "kmeans_state.npz"
_SAVE_EVERY = 50  # mini-batches
_PROGRESS_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class KmeansState:
    """All that a fit carries from step to step.

    Attributes:
      step: updates made.
      mean: float32 [d].
      std: float32 [d].
      centroids: float32 [K, d], standardised.
      drawn: int64 [K], frames of mini-batches that each cluster has had.
      inertia: float64 [passes], as in `KmeansResult`.
    """

    step: int
    mean: np.ndarray
    std: np.ndarray
    centroids: np.ndarray
    drawn: np.ndarray
    inertia: np.ndarray


def fit_kmeans(
    features: FrameSource | Float[np.ndarray, "n d"],
    config: KmeansConfig,
    mesh: Mesh | None = None,
    directory: Path | None = None,
) -> KmeansResult:
    """Standardises, initialises, takes mini-batch steps and runs Lloyd's algorithm.

    Equal arguments give equal bits on the same devices; on others, results differ by rounding.

    Args:
      features: finite frames of many clips; all of them are used.
      config: `layer` and `max_frames` are not read here.
      mesh: devices that share each block of frames; None is one device.
      directory: where state, metrics.jsonl (`inertia`, `empty` clusters) and timing.jsonl go; a fit
        that was interrupted goes on from there. None keeps nothing.

    Raises:
      InputError: features that are not finite, fewer distinct frames than clusters, or a damaged
        state.
      TrainingStopped: after SIGTERM or SIGINT, with the state saved.
    """
    source = ArrayFrames(features) if isinstance(features, np.ndarray) else features
    if source.frames < config.clusters:
        raise InputError(
            f"{source.frames} frames for kmeans.clusters = {config.clusters}: use more audio or "
            "fewer clusters"
        )
    state = None if directory is None else read_state(directory)
    if state is None:
        scale = measure_scale(source, config.block_frames)
        passes = Passes(source, scale, config.block_frames, mesh)
        state = KmeansState(
            0, *scale, initial_centroids(passes, config), np.zeros(config.clusters, np.int64),
            np.zeros(0),
        )  # fmt: skip
        _save(directory, state)
    else:
        scale = Scale(state.mean, state.std)
        passes = Passes(source, scale, config.block_frames, mesh)
    with _Records(directory, config, state.step) as records:
        while state.step < config.minibatch_steps:
            state = _minibatch(passes, config, state, records)
        while True:
            found = passes.lloyd(state.centroids)
            curve = np.append(state.inertia, found.distances.mean(dtype=np.float64))
            empty = np.flatnonzero(found.counts == 0)
            records.write(state.step, {"inertia": curve[-1], "empty": len(empty)}, source.frames)
            centroids = _updated(passes, found, empty)
            done = state.step - config.minibatch_steps
            is_enough = done >= config.iterations or np.array_equal(centroids, state.centroids)
            if is_enough and not len(empty):
                return KmeansResult(*scale, state.centroids, curve, found.counts)
            if done >= config.iterations + config.clusters:
                raise InputError(
                    f"kmeans.clusters = {config.clusters}: the {source.frames} frames do not fill "
                    "as many clusters, many are equal; use fewer clusters or more varied audio"
                )
            state = dataclasses.replace(
                state, step=state.step + 1, centroids=centroids, inertia=curve
            )
            records.save(state)


def read_state(directory: Path) -> KmeansState | None:
    """The state that an interrupted fit left; None without one.

    Raises:
      InputError: it is damaged.
    """
    path = directory / STATE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {field.name: arrays[field.name] for field in dataclasses.fields(KmeansState)}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it to fit from the start") from error
    return KmeansState(**values | {"step": int(values["step"])})


class _Records:
    """State, metrics and progress of a fit; a context manager."""

    def __init__(self, directory: Path | None, config: KmeansConfig, step: int) -> None:
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._stop = StopRequest()
        self._writer = None
        self._total = config.minibatch_steps + config.iterations
        self._step, self._since = step, time.monotonic()

    def __enter__(self) -> "_Records":
        if self._directory is not None:
            # The line of a step is written before the update, and so before the state after it.
            writer = MetricsWriter(self._directory, self._step - 1, tensorboard=False)
            self._writer = self._stack.enter_context(writer)
            self._progress = self._stack.enter_context(Progress(self._total, _PROGRESS_SECONDS))
            self._stop = self._stack.enter_context(watch_signals())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, step: int, values: dict[str, Any], frames: int) -> None:
        if self._writer is None:
            return
        self._writer.write(step, values)
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        self._writer.write_timing(step, {"seconds": seconds, "frames_per_second": frames / seconds})
        self._progress.update(step, values)

    def save(self, state: KmeansState) -> None:
        if self._writer is None:
            return
        self._writer.sync()
        _save(self._directory, state)
        if self._stop.signal is not None:
            self._progress.note(
                f"{self._directory}: stopped, saved at step {state.step}; start it again"
            )
            raise TrainingStopped(self._stop.exit_status)

    @property
    def is_stopping(self) -> bool:
        return self._stop.signal is not None


def _minibatch(
    passes: Passes, config: KmeansConfig, state: KmeansState, records: _Records
) -> KmeansState:
    """One step on random frames: each centroid is the mean of all frames it ever had.

    Reference: Sculley 2010. What a cluster gets from one mini-batch is taken together.
    """
    rng = np.random.default_rng((config.seed, 2, state.step))
    found, frames = passes.minibatch(state.centroids, rng)
    inertia = found.distances.mean(dtype=np.float64)
    records.write(state.step, {"minibatch_inertia": inertia}, frames)
    drawn = state.drawn + found.counts
    moved = (found.sums - found.counts[:, None] * state.centroids) / np.maximum(drawn, 1)[:, None]
    centroids = (state.centroids + moved).astype(np.float32)
    state = dataclasses.replace(state, step=state.step + 1, centroids=centroids, drawn=drawn)
    is_last = state.step == config.minibatch_steps
    if is_last or state.step % _SAVE_EVERY == 0 or records.is_stopping:
        records.save(state)
    return state


def _updated(passes: Passes, found: Sums, empty: np.ndarray) -> Float[np.ndarray, "k d"]:
    """The means of all clusters; the j-th empty one moves to the j-th farthest frame."""
    centroids = (found.sums / np.maximum(found.counts, 1)[:, None]).astype(np.float32)
    if len(empty):
        farthest = np.argsort(-found.distances, kind="stable")[: len(empty)]
        centroids[empty] = passes.scale.apply(passes.source.take(farthest))
    return centroids


def _save(directory: Path | None, state: KmeansState) -> None:
    if directory is None:
        return
    directory.mkdir(parents=True, exist_ok=True)
    with atomic_path(directory / STATE) as scratch:
        np.savez(scratch, **dataclasses.asdict(state))
