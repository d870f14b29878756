"""Passes over frames: statistics on the host, sums over the devices of a mesh.

Frames go to the devices in blocks of one size, each device its part, and every device holds all
centroids. A compiled step gives the sums of a block over all devices; those of the blocks are
added on the host in float64 and in the order of the frames, so a pass gives the same bits every
time on the same devices. On other devices the sums within a block are rounded differently.
"""

from collections.abc import Iterator
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
    standardised,
)
from audiolm_jax.tokenizers.semantic.kmeans.frames import FrameSource
from audiolm_jax.training.mesh import replicated, to_global

_ROUND = 256  # few frames make a block of a multiple of this


class Scale(NamedTuple):
    """What standardises features: float32 [d] each; `std` is 1 where nothing varies."""

    mean: np.ndarray
    std: np.ndarray

    def apply(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Standardised on the host, to the same bits as on a device."""
        return (features - self.mean) / self.std


class Sums(NamedTuple):
    """What a pass over frames finds.

    Attributes:
      sums: float64 [K, d], of the standardised frames of each cluster.
      counts: int64 [K], frames of each cluster.
      distances: float32 [n], squared distance of each frame to its centroid.
    """

    sums: np.ndarray
    counts: np.ndarray
    distances: np.ndarray


def measure_scale(source: FrameSource, block_frames: int) -> Scale:
    """Mean and deviation of each dimension in one pass, blocks merged in float64.

    Reference: Chan, Golub and LeVeque 1983.

    Raises:
      InputError: features that are not finite.
    """
    count, mean, squares = 0, np.zeros(source.width), np.zeros(source.width)
    for begin in range(0, source.frames, block_frames):
        block = source.read(begin, min(begin + block_frames, source.frames)).astype(np.float64)
        if not np.isfinite(block).all():
            raise InputError(
                "features for k-means hold NaN or infinity: look at the encoder's training"
            )
        own = block.mean(axis=0)
        total = count + len(block)
        shift = own - mean
        squares += np.square(block - own).sum(axis=0) + shift**2 * (count * len(block) / total)
        mean += shift * (len(block) / total)
        count = total
    std = np.sqrt(squares / count).astype(np.float32)
    return Scale(mean.astype(np.float32), np.where(std > 0, std, np.float32(1)))


class Passes:
    """Passes over the frames of one source, block by block.

    Attributes:
      source: the frames.
      scale: theirs.
    """

    def __init__(
        self, source: FrameSource, scale: Scale, block_frames: int, mesh: Mesh | None
    ) -> None:
        """Nothing is read yet.

        Args:
          source: the frames.
          scale: theirs.
          block_frames: most frames of a block, over all devices.
          mesh: from `make_mesh`.
        """
        self.source, self.scale = source, scale
        self._block = min(block_frames, -(-source.frames // _ROUND) * _ROUND)
        self._mesh = mesh
        self._scale = self._everywhere(tuple(scale))

    def lloyd(self, centroids: Float[np.ndarray, "k d"]) -> Sums:
        """Assigns every frame to its nearest centroid."""
        distances = np.empty(self.source.frames, np.float32)
        sums, counts = np.zeros(centroids.shape), np.zeros(len(centroids), np.int64)
        shared = self._everywhere(centroids)
        results = (
            (begin, count, _block_sums(*block, *self._scale, shared))
            for begin, count, block in self._blocks()
        )
        for begin, count, (own_sums, own_counts, own_distances) in _one_ahead(results):
            sums += np.asarray(own_sums)
            counts += np.asarray(own_counts)
            distances[begin : begin + count] = np.asarray(own_distances)[:count]
        return Sums(sums, counts, distances)

    def minibatch(
        self, centroids: Float[np.ndarray, "k d"], rng: np.random.Generator
    ) -> tuple[Sums, int]:
        """The same of one block of frames drawn with replacement, and how many those are."""
        rows = np.sort(rng.integers(self.source.frames, size=self._block))
        block = self._place(self.source.take(rows))
        own = _block_sums(*block, *self._scale, self._everywhere(centroids))
        sums, counts, distances = map(np.asarray, own)
        return Sums(sums.astype(np.float64), counts.astype(np.int64), distances), len(rows)

    def assign(self, centroids: Float[np.ndarray, "k d"]) -> Int[np.ndarray, " n"]:
        """The nearest centroid of every frame; the lower one wins a tie."""
        owners = np.zeros(self.source.frames, np.int64)
        distances = np.full(self.source.frames, np.inf, np.float32)
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
        """Notes where new centroids are nearer than all before.

        Args:
          centroids: the new ones.
          padded: how many to compile for, at least as many.
          distances: squared, to the nearest so far; changed in place.
          owners: number of that one; changed in place.
          first: number of the first new one.
        """
        table = np.zeros((padded, centroids.shape[1]), np.float32)
        table[: len(centroids)] = centroids
        shared = self._everywhere(table)
        inside = self._everywhere(np.arange(padded) < len(centroids))
        results = (
            (begin, count, _block_nearest(block[0], *self._scale, shared, inside))
            for begin, count, block in self._blocks()
        )
        for begin, count, (own_distances, own_ids) in _one_ahead(results):
            here = slice(begin, begin + count)
            found = np.asarray(own_distances)[:count]
            is_nearer = found < distances[here]
            distances[here][is_nearer] = found[is_nearer]
            owners[here][is_nearer] = first + np.asarray(own_ids)[:count][is_nearer]

    def _blocks(self) -> Iterator[tuple[int, int, tuple[Array, Array]]]:
        for begin in range(0, self.source.frames, self._block):
            block = self.source.read(begin, min(begin + self._block, self.source.frames))
            yield begin, len(block), self._place(block)

    def _place(self, frames: np.ndarray) -> tuple[Array, Array]:
        """(a block of the frames, which of its rows they are), spread over the devices."""
        padded = np.zeros((self._block, frames.shape[1]), np.float32)
        padded[: len(frames)] = frames
        return to_global((padded, np.arange(self._block) < len(frames)), self._mesh)

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
    points = standardised(features, mean, std)
    distances = squared_distances(points, centroids)
    member = jax.nn.one_hot(jnp.argmin(distances, axis=1), len(centroids), dtype=points.dtype)
    member = jnp.where(valid[:, None], member, 0)
    sums = jnp.einsum("nk,nd->kd", member, points, precision=PRECISION)
    counts = member.astype(jnp.int32).sum(axis=0)
    return sums, counts, jnp.maximum(distances.min(axis=1), 0)


@jax.jit
def _block_nearest(
    features: Float[Array, "n d"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
    inside: Bool[Array, " c"],
) -> tuple[Float[Array, " n"], Int[Array, " n"]]:
    distances = squared_distances(standardised(features, mean, std), centroids)
    distances = jnp.where(inside[None, :], distances, jnp.inf)
    return jnp.maximum(distances.min(axis=1), 0), jnp.argmin(distances, axis=1)


def _one_ahead(results: Iterator[tuple]) -> Iterator[tuple]:
    """The same, each given out once the next is under way: devices work while the host adds."""
    waiting = next(results, None)
    for result in results:
        yield waiting
        waiting = result
    if waiting is not None:
        yield waiting
