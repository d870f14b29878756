"""Passes over frames: statistics on the host, sums over the devices of a mesh.

Frames go to the devices in blocks of one size, each device its part, and every device holds all
centroids. The sums of the blocks are added on the host in float64 and in the order of the frames,
so a pass gives the same bits every time on the same devices; on others the sums within a block are
rounded differently.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.distances import (
    PRECISION,
    squared_distances,
    standardized,
)
from audiolm_jax.training.mesh import replicated, to_global

_ROUND = 256  # few frames make a block of a multiple of this


class Scale(NamedTuple):
    """What standardizes features: float32 [d] each; `std` is 1 where nothing varies."""

    mean: np.ndarray
    std: np.ndarray

    def apply(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Standardized on the host."""
        return np.asarray(standardized(features, self.mean, self.std))


class Sums(NamedTuple):
    """What a pass over frames finds."""

    sums: np.ndarray  # float64 [K, d], of the standardized frames of each cluster
    counts: np.ndarray  # int64 [K], frames of each cluster
    distances: np.ndarray  # float32 [n], squared distance of each frame to its centroid


def measure_scale(source: Float[np.ndarray, "n d"], block_frames: int) -> Scale:
    """Mean and deviation of each dimension in one pass (Chan, Golub and LeVeque 1983)."""
    count, mean, squares = 0, np.zeros(source.shape[1]), np.zeros(source.shape[1])
    for begin in range(0, len(source), block_frames):
        block = source[begin : begin + block_frames].astype(np.float64)
        if not np.isfinite(block).all():
            raise InputError("features for k-means hold NaN or infinity: check the encoder")
        own = block.mean(axis=0)
        total = count + len(block)
        shift = own - mean
        squares += np.square(block - own).sum(axis=0) + shift**2 * (count * len(block) / total)
        mean += shift * (len(block) / total)
        count = total
    std = np.sqrt(squares / count).astype(np.float32)
    return Scale(mean.astype(np.float32), np.where(std > 0, std, np.float32(1)))


class Passes:
    """Passes over a table in memory or mapped into it, in blocks of up to `block_frames`."""

    def __init__(
        self, source: Float[np.ndarray, "n d"], scale: Scale, block_frames: int, mesh: Mesh | None
    ) -> None:
        self.source, self.scale = source, scale
        self._block = min(block_frames, -(-len(source) // _ROUND) * _ROUND)
        self._mesh = mesh
        self._scale = self._everywhere(tuple(scale))

    def lloyd(self, centroids: Float[np.ndarray, "k d"]) -> Sums:
        """Assigns every frame to its nearest centroid."""
        distances = np.empty(len(self.source), np.float32)
        sums, counts = np.zeros(centroids.shape), np.zeros(len(centroids), np.int64)
        shared = self._everywhere(centroids)
        for here, (own_sums, own_counts, own_distances) in self._over_blocks(
            lambda features, valid: _block_sums(features, valid, *self._scale, shared)
        ):
            sums += own_sums
            counts += own_counts
            distances[here] = own_distances[: here.stop - here.start]
        return Sums(sums, counts, distances)

    def standardized_rows(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Single frames, in the order asked for."""
        return self.scale.apply(np.asarray(self.source[rows], np.float32))

    def assign(self, centroids: Float[np.ndarray, "k d"]) -> Int[np.ndarray, " n"]:
        """The nearest centroid of every frame; the lower one wins a tie."""
        owners = np.zeros(len(self.source), np.int64)
        distances = np.full(len(self.source), np.inf, np.float32)
        self.nearer(centroids, len(centroids), distances, owners, 0)
        return owners

    def nearer(
        self,
        centroids: Float[np.ndarray, "c d"],
        padded: int,
        distances: Float[np.ndarray, " n"],
        owners: Int[np.ndarray, " n"],
        first: int,
    ) -> None:
        """Notes where new centroids, numbered from `first`, are nearer than all before.

        `distances` (squared) and `owners` of the nearest so far change in place. Compiled for
        `padded` centroids, at least as many.
        """
        table = np.zeros((padded, centroids.shape[1]), np.float32)
        table[: len(centroids)] = centroids
        shared = self._everywhere(table)
        inside = self._everywhere(np.arange(padded) < len(centroids))
        for here, (own_distances, own_ids) in self._over_blocks(
            lambda features, _: _block_nearest(features, *self._scale, shared, inside)
        ):
            own_distances = own_distances[: here.stop - here.start]
            is_nearer = own_distances < distances[here]
            distances[here][is_nearer] = own_distances[is_nearer]
            owners[here][is_nearer] = first + own_ids[: here.stop - here.start][is_nearer]

    def _over_blocks(
        self, step: Callable[[Array, Array], tuple[Array, ...]]
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """(rows of a block, what the step gives for it), each once the next is under way."""
        waiting = None
        for begin in range(0, len(self.source), self._block):
            here = slice(begin, min(begin + self._block, len(self.source)))
            padded = np.zeros((self._block, self.source.shape[1]), np.float32)
            padded[: here.stop - begin] = self.source[here]
            valid = np.arange(self._block) < here.stop - begin
            result = step(*to_global((padded, valid), self._mesh))
            if waiting is not None:
                yield waiting[0], [np.asarray(x) for x in waiting[1]]
            waiting = here, result
        if waiting is not None:
            yield waiting[0], [np.asarray(x) for x in waiting[1]]

    def _everywhere(self, tree: Any) -> Any:
        return jax.device_put(tree, replicated(self._mesh))


@jax.jit
def _block_sums(
    features: Float[Array, "n d"],
    valid: Bool[Array, " n"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "k d"],
) -> tuple[Float[Array, "k d"], Int[Array, " k"], Float[Array, " n"]]:
    points_NxD = standardized(features, mean, std)
    distances_NxK = squared_distances(points_NxD, centroids)
    owners_N = jnp.argmin(distances_NxK, axis=1)
    member_NxK = jax.nn.one_hot(owners_N, len(centroids), dtype=points_NxD.dtype)
    member_NxK = jnp.where(valid[:, None], member_NxK, 0)
    sums_KxD = jnp.einsum("nk,nd->kd", member_NxK, points_NxD, precision=PRECISION)
    counts_K = member_NxK.astype(jnp.int32).sum(axis=0)
    return sums_KxD, counts_K, jnp.maximum(distances_NxK.min(axis=1), 0)


@jax.jit
def _block_nearest(
    features: Float[Array, "n d"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
    inside: Bool[Array, " c"],
) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    distances_NxC = squared_distances(standardized(features, mean, std), centroids)
    distances_NxC = jnp.where(inside[None, :], distances_NxC, jnp.inf)
    return jnp.maximum(distances_NxC.min(axis=1), 0), jnp.argmin(distances_NxC, axis=1)
