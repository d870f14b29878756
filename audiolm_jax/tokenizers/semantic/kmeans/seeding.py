"""Where centroids begin: k-means|| over all frames, then k-means++ over what that has drawn.

References: Arthur and Vassilvitskii 2007 (k-means++), Bahmani et al. 2012 (k-means||). k-means++
by itself takes K passes over frames that all fit on one device; k-means|| some six over any number.
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
    """The first centroids, in standardized units.

    Each round draws every frame by itself, with a probability in proportion to its squared distance
    to what has been drawn so far: 2 K frames are expected. After five rounds, or as many more as it
    takes to have K, k-means++ chooses among them, each weighted by the frames nearest to it.
    """
    frames, clusters = len(passes.source), config.clusters
    rng = np.random.default_rng((config.seed, 1))
    distances, owners = np.full(frames, np.inf, np.float32), np.zeros(frames, np.int64)
    rows = rng.integers(frames, size=1)
    drawn: list[np.ndarray] = []
    count = 0
    size = (_OVERSAMPLING + 1) * clusters  # few sizes, so that few programs are compiled
    for number in range(_ROUNDS + clusters):
        if len(rows):
            new = passes.standardized_rows(rows)
            passes.nearer(new, -(-len(new) // size) * size, distances, owners, count)
            drawn.append(new)
            count += len(new)
        potential = distances.sum(dtype=np.float64)
        if potential == 0 or (number >= _ROUNDS and count >= clusters):
            break
        rows = np.flatnonzero(rng.random(frames) * potential < _OVERSAMPLING * clusters * distances)
    if count < clusters:
        raise too_few_distinct(config, frames)
    weights = np.bincount(owners, minlength=count).astype(np.float32)
    rest = -count % (4 * size)
    points = np.pad(np.concatenate(drawn), ((0, rest), (0, 0)))
    weights = np.pad(weights, (0, rest))
    return np.asarray(plus_plus(points, weights, clusters, jax.random.key(config.seed)))


def too_few_distinct(config: KmeansConfig, frames: int) -> InputError:
    """What is said where clusters stay empty."""
    return InputError(
        f"--kmeans.clusters = {config.clusters}: the {frames} frames do not fill as many clusters, "
        "many are equal; use fewer clusters or more varied audio"
    )


@functools.partial(jax.jit, static_argnames="clusters")
def plus_plus(
    points: Float[Array, "n d"], weights: Float[Array, " n"], clusters: int, key: Key[Array, ""]
) -> Float[Array, "k d"]:
    """k-means++ over points that stand for `weights` points each; weight 0 is never drawn."""
    keys = jax.random.split(key, clusters)

    def choose(mass_N: Array, key: Array) -> Array:
        total_N = jnp.cumsum(mass_N)
        place = jax.random.uniform(key) * total_N[-1]
        return points[jnp.searchsorted(total_N, place, side="right")]

    def add(carry: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], Array]:
        distances_N, last_D = carry
        new_N = jnp.sum(jnp.square(points - last_D[None, :]), axis=1)
        distances_N = jnp.minimum(distances_N, new_N)
        chosen_D = choose(weights * distances_N, key)
        return (distances_N, chosen_D), chosen_D

    first_D = choose(weights, keys[0])
    far_N = jnp.full(len(points), jnp.finfo(points.dtype).max, points.dtype)
    _, others = jax.lax.scan(add, (far_N, first_D), keys[1:])
    return jnp.concatenate([first_D[None], others])
