"""k-means level by level: each level divides what the levels before left over of the features.

A finished level is kept on disk; an interrupted fit makes again the level that it was in, and ends
in the same bits. The frames lie in the memory of one host.
"""

import dataclasses
import logging
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig, ResidualClustering
from audiolm_jax.tokenizers.semantic.kmeans.fit import keep, read_kept, updated_centroids
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, measure_scale
from audiolm_jax.tokenizers.semantic.kmeans.seeding import initial_centroids, too_few_distinct
from audiolm_jax.training.preemption import (
    StopRequest,
    TrainingStopped,
    reached_preemption,
    watch_signals,
)

_logger = logging.getLogger(__name__)


def fit_levels(
    features: Frames,
    config: KmeansConfig,
    levels: int,
    mesh: Mesh | None = None,
    directory: Path | None = None,
    stop: StopRequest | None = None,
) -> ResidualClustering:
    """Standardizes, then fits `levels` codebooks one after another, each by Lloyd's algorithm on
    the residuals of the one before.

    `directory` keeps the finished levels, from which an interrupted fit goes on. Level i draws with
    the seed `config.seed` + i. Raises TrainingStopped after SIGTERM or SIGINT, or when `stop` is
    noticed.
    """
    config.check_available(len(features))
    block = config.block_frames
    done = None if directory is None else read_levels(directory)
    if done is None:
        scale, codebooks, inertia = measure_scale(features, block, mesh), [], []
    else:
        scale, codebooks = Scale(done.mean, done.std), [*done.codebooks]
        inertia = [*done.inertia]
    residual = scale.apply(np.asarray(features[slice(None)], np.float32))
    unscaled = Scale(*(np.full(residual.shape[1], x, np.float32) for x in (0, 1)))
    with watch_signals(stop) as watched:
        for level in range(levels):
            passes = Passes(residual, unscaled, block, mesh)
            if level >= len(codebooks):
                own = dataclasses.replace(config, seed=config.seed + level)
                codebooks.append(_fit_level(passes, own, watched))
            residual = residual - codebooks[level][passes.assign(codebooks[level])]
            if level >= len(inertia):
                inertia.append(float(np.square(residual).sum(axis=1).mean(dtype=np.float64)))
                words = "level %d of %d: mean squared residual %.3f"
                _logger.info(words, level + 1, levels, inertia[-1])
                if directory is not None:
                    keep(directory, _clustering(scale, codebooks, inertia))
    return _clustering(scale, codebooks, inertia)


def _fit_level(passes: Passes, config: KmeansConfig, stop: StopRequest) -> np.ndarray:
    """float32 [K, d]; no cluster is empty."""
    centroids = initial_centroids(passes, config)
    for step in range(config.iterations + config.clusters):
        if stop.seen(reached_preemption):
            raise TrainingStopped(stop.exit_status)
        sums = passes.lloyd(centroids)
        empty = np.flatnonzero(sums.counts == 0)
        if step >= config.iterations and not len(empty):
            return centroids
        moved = updated_centroids(passes, sums, empty)
        if np.array_equal(moved, centroids) and not len(empty):
            return centroids
        centroids = moved
    raise too_few_distinct(config, len(passes.source))


def read_levels(directory: Path) -> ResidualClustering | None:
    """The levels that an interrupted fit has finished; None if there are none."""
    kept = read_kept(directory, ResidualClustering)
    return None if kept is None else ResidualClustering(**kept)


def _clustering(
    scale: Scale, codebooks: list[np.ndarray], inertia: list[float]
) -> ResidualClustering:
    return ResidualClustering(*scale, np.stack(codebooks), np.array(inertia))
