"""K-means over standardised features: the step from vectors to semantic tokens.

Every dimension is brought to zero mean and unit variance first, which gains much phonetic
discriminability (AudioLM section III-B); the statistics are kept with the centroids. How many
frames and iterations the paper used it does not say.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from audiolm_jax.errors import InputError

CHUNK = 4096  # frames whose distances are held at once
# Ids must not depend on the backend's fast matrix products.
_PRECISION = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class KmeansConfig:
    """How features become clusters; the defaults are AudioLM's where it states them.

    Attributes:
      clusters: K, number of clusters and of semantic token ids.
      layer: encoder layer the features come from: "contrastive_k" or "masked_k", k from 1, of
        w2v-BERT; "layer_k", k from 0, of imported encoders.
      iterations: most iterations of Lloyd's algorithm; it stops earlier once nothing moves.
      seed: of the initialisation, and of the choice of frames if there are more than max_frames.
      max_frames: most frames to fit on; a random subset is taken of more.
    """

    clusters: int = 1024
    layer: str = "masked_7"
    iterations: int = 50
    seed: int = 0
    max_frames: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("clusters", "iterations", "max_frames"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"kmeans.{name} = {getattr(self, name)}: expected a positive whole number"
                )
        if self.max_frames < self.clusters:
            raise InputError(
                f"kmeans.max_frames = {self.max_frames}: expected at least clusters = "
                f"{self.clusters}"
            )


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Centroids, and the scale of the features that they divide.

    Attributes:
      mean: float32 [d], taken off each feature dimension.
      std: float32 [d], what it is then divided by.
      centroids: float32 [K, d], in those units.
    """

    mean: np.ndarray
    std: np.ndarray
    centroids: np.ndarray


@dataclasses.dataclass(frozen=True)
class KmeansResult(Clustering):
    """A fitted clustering: `std` is 1 where a dimension never varies.

    Attributes:
      inertia: float64 [iterations], mean squared distance to the nearest centroid before each
        iteration's update; never rises, but where an empty cluster was moved.
      counts: int64 [K], frames of each cluster at the end; none is 0.
    """

    inertia: np.ndarray
    counts: np.ndarray


class _Assignment(NamedTuple):
    sums: Array  # [K, d]
    counts: Array  # [K]
    distances: Array  # [chunks, CHUNK]; -1 on padding


def squared_distances(
    points: Float[Array, "n d"], centroids: Float[Array, "c d"]
) -> Float[Array, "n c"]:
    """Squared Euclidean distances, up to rounding (tiny negative values occur)."""
    products = jnp.einsum("nd,cd->nc", points, centroids, precision=_PRECISION)
    squares = jnp.sum(jnp.square(points), axis=1)[:, None]
    return squares - 2 * products + jnp.sum(jnp.square(centroids), axis=1)[None, :]


def nearest(
    features: Float[Array, "n d"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
) -> Int[Array, " n"]:
    """Cluster id of each feature vector, int32; the lower id wins a tie."""
    points = (features - mean[None, :]) / std[None, :]
    return jnp.argmin(squared_distances(points, centroids), axis=1).astype(jnp.int32)


def fit_kmeans(features: Float[np.ndarray, "n d"], config: KmeansConfig) -> KmeansResult:
    """Standardises, initialises by k-means++ and runs Lloyd's algorithm.

    Equal arguments give equal bits on one machine.

    Args:
      features: finite frames of many clips.
      config: `layer` is not read here.

    Raises:
      InputError: features that are not finite, or fewer distinct frames than clusters.
    """
    features = np.asarray(features, np.float32)
    if not np.isfinite(features).all():
        raise InputError(
            "features for k-means hold NaN or infinity: look at the encoder's training"
        )
    if len(features) < config.clusters:
        raise InputError(
            f"{len(features)} frames for kmeans.clusters = {config.clusters}: use more audio or "
            "fewer clusters"
        )
    if len(features) > config.max_frames:
        rng = np.random.default_rng(config.seed)
        chosen = rng.choice(len(features), config.max_frames, replace=False)
        features = features[np.sort(chosen)]
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    std = features.std(axis=0, dtype=np.float64).astype(np.float32)
    std = np.where(std > 0, std, np.float32(1))
    points, valid = _in_chunks((features - mean) / std)
    centroids = initial_centroids(points, valid, config.clusters, jax.random.key(config.seed))
    inertia = []
    for _ in range(config.iterations):
        previous = centroids
        centroids, counts, mean_distance = _lloyd(points, valid, centroids)
        inertia.append(float(mean_distance))
        if np.array_equal(previous, centroids):
            break
    counts = _assign(points, valid, centroids).counts
    for _ in range(config.clusters):  # the last update may have left a cluster empty
        if np.all(counts):
            break
        centroids, _, mean_distance = _lloyd(points, valid, centroids)
        inertia.append(float(mean_distance))
        counts = _assign(points, valid, centroids).counts
    if not np.all(counts):
        raise InputError(
            f"kmeans.clusters = {config.clusters}: the {len(features)} frames do not fill as many "
            "clusters, many are equal; use fewer clusters or more varied audio"
        )
    return KmeansResult(
        mean, std, np.asarray(centroids), np.array(inertia), np.asarray(counts, np.int64)
    )


@functools.partial(jax.jit, static_argnames="clusters")
def initial_centroids(
    points: Float[Array, "c n d"],
    valid: Bool[Array, "c n"],
    clusters: int,
    key: Key[Array, ""],
) -> Float[Array, "k d"]:
    """k-means++: each next centroid is a point drawn in proportion to its squared distance."""
    points, valid = points.reshape(-1, points.shape[-1]), valid.reshape(-1)
    keys = jax.random.split(key, clusters)

    def choose(weights: Array, key: Array) -> Array:
        total = jnp.cumsum(weights)
        return points[jnp.searchsorted(total, jax.random.uniform(key) * total[-1], side="right")]

    def add(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        distances, last = carry
        distances = jnp.minimum(distances, jnp.sum(jnp.square(points - last[None, :]), axis=1))
        distances = jnp.where(valid, distances, 0)
        chosen = choose(distances, key)
        return (distances, chosen), chosen

    first = choose(valid.astype(points.dtype), keys[0])
    far = jnp.full(len(points), jnp.inf, points.dtype)
    _, others = jax.lax.scan(add, (far, first), keys[1:])
    return jnp.concatenate([first[None], others])


def _in_chunks(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chunk = min(CHUNK, len(points))
    padded = np.pad(points, ((0, -len(points) % chunk), (0, 0)))
    valid = np.arange(len(padded)) < len(points)
    return padded.reshape(-1, chunk, points.shape[1]), valid.reshape(-1, chunk)


@jax.jit
def _assign(
    points: Float[Array, "c n d"], valid: Bool[Array, "c n"], centroids: Float[Array, "k d"]
) -> _Assignment:
    def add(carry: tuple[Array, Array], chunk: tuple[Array, Array]) -> tuple[tuple, Array]:
        sums, counts = carry
        x, inside = chunk
        distances = squared_distances(x, centroids)
        member = jax.nn.one_hot(jnp.argmin(distances, axis=1), len(centroids), dtype=x.dtype)
        member = jnp.where(inside[:, None], member, 0)
        sums = sums + jnp.einsum("nk,nd->kd", member, x, precision=_PRECISION)
        counts = counts + member.sum(axis=0).astype(jnp.int32)
        return (sums, counts), jnp.where(inside, jnp.maximum(distances.min(axis=1), 0), -1)

    zero = (jnp.zeros_like(centroids), jnp.zeros(len(centroids), jnp.int32))
    (sums, counts), distances = jax.lax.scan(add, zero, (points, valid))
    return _Assignment(sums, counts, distances)


@jax.jit
def _lloyd(
    points: Float[Array, "c n d"], valid: Bool[Array, "c n"], centroids: Float[Array, "k d"]
) -> tuple[Array, Array, Array]:
    """One iteration; the j-th empty cluster moves to the j-th farthest point."""
    sums, counts, distances = _assign(points, valid, centroids)
    empty = counts == 0
    _, farthest = jax.lax.top_k(distances.reshape(-1), len(centroids))
    rank = jnp.maximum(jnp.cumsum(empty) - 1, 0)
    reseeded = points.reshape(-1, points.shape[-1])[farthest[rank]]
    means = sums / jnp.maximum(counts, 1)[:, None]
    updated = jnp.where(empty[:, None], reseeded, means)
    mean_distance = jnp.sum(distances, where=valid) / valid.sum()
    return updated, counts, mean_distance
