"""Passes over frames: statistics on the host, sums over the devices of a mesh and all hosts.

Every device takes whole blocks of frames, a block at a time, and holds all centroids: what a block
gives is what one device gives for it. The sums of the blocks are added in float64 and in the order
of the frames, those of each cluster on one host, and then told to all; so a pass gives the same
bits on any number of devices and hosts, as far as devices of one kind compute alike.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames, divide
from audiolm_jax.tokenizers.semantic.kmeans.distances import (
    PRECISION,
    squared_distances,
    standardized,
)
from audiolm_jax.training.host_arrays import merge_hosts
from audiolm_jax.training.mesh import on_each_part, replicated

_BLOCKS_TOLD = 256  # of so many blocks the hosts tell each other the statistics at once


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


def measure_scale(source: Frames, block_frames: int, mesh: Mesh | None = None) -> Scale:
    """Mean and deviation of each dimension in one pass (Chan, Golub and LeVeque 1983)."""
    blocks, width = divide(len(source), block_frames, mesh), source.shape[1]
    count, mean, squares = 0, np.zeros(width), np.zeros(width)
    for begin in range(0, blocks.count, _BLOCKS_TOLD):
        numbers = range(begin, min(begin + _BLOCKS_TOLD, blocks.count))
        told = np.zeros((len(numbers), 2, width))
        for row, number in zip(told, numbers, strict=True):
            if blocks.is_first(number):
                row[:] = _statistics(source[blocks.rows(number)].astype(np.float64))
        for number, (own, own_squares) in zip(numbers, merge_hosts(told), strict=True):
            if not np.isfinite(own).all():
                raise InputError("features for k-means hold NaN or infinity: check the encoder")
            rows = blocks.rows(number)
            size = rows.stop - rows.start
            total = count + size
            shift = own - mean
            squares += own_squares + shift**2 * (count * size / total)
            mean += shift * (size / total)
            count = total
    std = np.sqrt(squares / count).astype(np.float32)
    return Scale(mean.astype(np.float32), np.where(std > 0, std, np.float32(1)))


def _statistics(block: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "2 d"]:
    """Means, and sums of squares about them; NaN if the block has something that is not finite."""
    if not np.isfinite(block).all():
        return np.full((2, block.shape[1]), np.nan)
    mean = block.mean(axis=0)
    return np.stack([mean, np.square(block - mean).sum(axis=0)])


class Passes:
    """Passes over frames in blocks of up to `block_frames`, of which a device takes one at once."""

    def __init__(self, source: Frames, scale: Scale, block_frames: int, mesh: Mesh | None) -> None:
        self.source, self.scale = source, scale
        self.blocks = divide(len(source), block_frames, mesh)
        self._mesh = mesh
        self._scale = self._everywhere(tuple(scale))
        self._sums = on_each_part(_block_sums, mesh)
        self._nearest = on_each_part(_block_nearest, mesh)

    def lloyd(self, centroids: Float[np.ndarray, "k d"]) -> Sums:
        """Assigns every frame to its nearest centroid."""
        distances = np.empty(len(self.source), np.float32)
        # Of the clusters whose sums lie on this host; zero of the others.
        sums, counts = np.zeros(centroids.shape), np.zeros(len(centroids), np.int64)
        shared = self._everywhere(centroids)
        for here, ((own_sums,), (own_counts, own_distances)) in self._over_rounds(
            lambda rows: self._sums(rows, *self._scale, shared)
        ):
            for shard in own_sums.addressable_shards:
                if shard.replica_id == 0:
                    clusters = sums[shard.index[1]]
                    for block in np.asarray(shard.data):
                        clusters += block[: len(clusters)]
            for rows, count, distance in zip(
                here, np.asarray(own_counts), np.asarray(own_distances), strict=True
            ):
                counts += count
                distances[rows] = distance[: rows.stop - rows.start]
        return Sums(merge_hosts(sums), counts, distances)

    def standardized_rows(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Single frames, in the order asked for."""
        found = np.zeros((len(rows), self.source.shape[1]), np.float32)
        numbers = rows // self.blocks.size
        own = np.isin(numbers % self.blocks.parts, self.blocks.first)
        found[own] = self.source[rows[own]]
        return self.scale.apply(merge_hosts(found))

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
        for here, (_, found) in self._over_rounds(
            lambda rows: self._nearest(rows, *self._scale, shared, inside)
        ):
            for rows, *own in zip(here, *map(np.asarray, found), strict=True):
                own_distances, own_ids = (x[: rows.stop - rows.start] for x in own)
                is_nearer = own_distances < distances[rows]
                distances[rows][is_nearer] = own_distances[is_nearer]
                owners[rows][is_nearer] = first + own_ids[is_nearer]

    def _over_rounds(
        self, step: Callable[[tuple[np.ndarray, np.ndarray]], Any]
    ) -> Iterator[tuple[list[slice], Any]]:
        """(rows of each block of a round, what the step gives), once the next is under way."""
        blocks, width = self.blocks, self.source.shape[1]
        waiting = None
        for begin in range(0, blocks.rounds * blocks.parts, blocks.parts):
            here = [blocks.rows(number) for number in range(begin, begin + blocks.parts)]
            padded = np.zeros((len(blocks.own), blocks.size, width), np.float32)
            valid = np.zeros((len(blocks.own), blocks.size), bool)
            for part, features, inside in zip(blocks.own, padded, valid, strict=True):
                size = here[part].stop - here[part].start
                if size:
                    features[:size] = self.source[here[part]]
                    inside[:size] = True
            result = step((padded, valid))
            if waiting is not None:
                yield waiting
            waiting = here, result
        if waiting is not None:
            yield waiting

    def _everywhere(self, tree: Any) -> Any:
        return jax.device_put(tree, replicated(self._mesh))


def _block_sums(
    rows: tuple[Float[Array, "n d"], Bool[Array, " n"]],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "k d"],
) -> tuple[tuple[Float[Array, "k d"]], tuple[Int[Array, " k"], Float[Array, " n"]]]:
    features, valid = rows
    points_NxD = standardized(features, mean, std)
    distances_NxK = squared_distances(points_NxD, centroids)
    owners_N = jnp.argmin(distances_NxK, axis=1)
    member_NxK = jax.nn.one_hot(owners_N, len(centroids), dtype=points_NxD.dtype)
    member_NxK = jnp.where(valid[:, None], member_NxK, 0)
    sums_KxD = jnp.einsum("nk,nd->kd", member_NxK, points_NxD, precision=PRECISION)
    counts_K = member_NxK.astype(jnp.int32).sum(axis=0)
    return (sums_KxD,), (counts_K, jnp.maximum(distances_NxK.min(axis=1), 0))


def _block_nearest(
    rows: tuple[Float[Array, "n d"], Bool[Array, " n"]],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
    inside: Bool[Array, " c"],
) -> tuple[tuple[()], tuple[Float[Array, " n"], Int[Array, " n"]]]:
    distances_NxC = squared_distances(standardized(rows[0], mean, std), centroids)
    distances_NxC = jnp.where(inside[None, :], distances_NxC, jnp.inf)
    nearest_N = jnp.argmin(distances_NxC, axis=1)
    return (), (jnp.maximum(distances_NxC.min(axis=1), 0), nearest_N)
