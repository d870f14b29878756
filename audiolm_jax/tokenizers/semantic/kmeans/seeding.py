"""Where centroids begin: k-means++ for what fits, k-means|| for what does not.

References: Arthur and Vassilvitskii 2007 (k-means++), Bahmani et al. 2012 (k-means||).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes

# Bahmani et al. find no gain beyond: 2 K candidates a round, 5 rounds.
_OVERSAMPLING, _ROUNDS = 2, 5


def initial_centroids(passes: Passes, config: KmeansConfig) -> Float[np.ndarray, "k d"]:
    """The first centroids, in standardised units.

    Raises:
      InputError: fewer distinct frames than clusters.
    """
    key = jax.random.key(config.seed)
    if config.initialisation == "plus_plus":
        points = passes.scale.apply(passes.source.read(0, passes.source.frames))
        weights = np.ones(len(points), np.float32)
    else:
        points, weights = _candidates(passes, config)
    return np.asarray(plus_plus(points, weights, config.clusters, key))


@functools.partial(jax.jit, static_argnames="clusters")
def plus_plus(
    points: Float[Array, "n d"], weights: Float[Array, " n"], clusters: int, key: Key[Array, ""]
) -> Float[Array, "k d"]:
    """k-means++: each next centroid is a point drawn in proportion to its squared distance.

    Args:
      points: what to draw from.
      weights: how many points each stands for; 0 is never drawn.
      clusters: how many to draw.
      key: of the draws.
    """
    keys = jax.random.split(key, clusters)

    def choose(mass: Array, key: Array) -> Array:
        total = jnp.cumsum(mass)
        return points[jnp.searchsorted(total, jax.random.uniform(key) * total[-1], side="right")]

    def add(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        distances, last = carry
        distances = jnp.minimum(distances, jnp.sum(jnp.square(points - last[None, :]), axis=1))
        chosen = choose(weights * distances, key)
        return (distances, chosen), chosen

    first = choose(weights, keys[0])
    far = jnp.full(len(points), jnp.finfo(points.dtype).max, points.dtype)
    _, others = jax.lax.scan(add, (far, first), keys[1:])
    return jnp.concatenate([first[None], others])


def _candidates(passes: Passes, config: KmeansConfig) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn by k-means||, and the number of frames nearest to each; padded with none.

    Each round draws every frame by itself, with a probability in proportion to its squared distance
    to what has been drawn so far: 2 K frames are expected. Five rounds, or as many more as it
    takes to have K.
    """
    frames, clusters = passes.source.frames, config.clusters
    rng = np.random.default_rng((config.seed, 1))
    distances = np.full(frames, np.inf, np.float32)
    owners = np.zeros(frames, np.int64)
    drawn = rng.integers(frames, size=1)
    found: list[np.ndarray] = []
    # Few sizes, so that few programs are compiled.
    size = (_OVERSAMPLING + 1) * clusters
    for number in range(_ROUNDS + clusters):
        if len(drawn):
            new = passes.scale.apply(passes.source.take(drawn))
            padded = -(-len(new) // size) * size
            passes.nearer(new, padded, distances, owners, sum(map(len, found)))
            found.append(new)
        if number >= _ROUNDS and sum(map(len, found)) >= clusters:
            break
        potential = distances.sum(dtype=np.float64)
        if potential == 0:
            break
        drawn = np.flatnonzero(
            rng.random(frames) * potential < _OVERSAMPLING * clusters * distances
        )
    points = np.concatenate(found)
    if len(points) < clusters:
        raise InputError(
            f"kmeans.clusters = {clusters}: the {frames} frames do not fill as many clusters, many "
            "are equal; use fewer clusters or more varied audio"
        )
    weights = np.bincount(owners, minlength=len(points)).astype(np.float32)
    rest = -len(points) % (4 * size)
    return np.pad(points, ((0, rest), (0, 0))), np.pad(weights, (0, rest))
