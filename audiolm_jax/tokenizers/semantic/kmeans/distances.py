"""Standardized features (AudioLM section III-B) and their distances: from vector to cluster id."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from audiolm_jax.types import Array

# Ids must not depend on the backend's fast matrix products.
PRECISION = jax.lax.Precision.HIGHEST


def standardized(
    features: Float[Array, "n d"], mean: Float[Array, " d"], std: Float[Array, " d"]
) -> Float[Array, "n d"]:
    """Features in units of their deviation, from their mean; the same bits on host and device."""
    return (features - mean[None, :]) / std[None, :]


def squared_distances(
    points: Float[Array, "n d"], centroids: Float[Array, "c d"]
) -> Float[Array, "n c"]:
    """Squared Euclidean distances, up to rounding (tiny negative values occur)."""
    products_NxC = jnp.einsum("nd,cd->nc", points, centroids, precision=PRECISION)
    squares_Nx1 = jnp.sum(jnp.square(points), axis=1)[:, None]
    return squares_Nx1 - 2 * products_NxC + jnp.sum(jnp.square(centroids), axis=1)[None, :]


def distances_to(
    features: Float[Array, "*shape d"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
) -> Float[Array, "*shape c"]:
    """Squared distance of each feature vector, standardized, to each centroid."""
    flat = features.reshape(-1, features.shape[-1])
    distances = squared_distances(standardized(flat, mean, std), centroids)
    return distances.reshape(*features.shape[:-1], len(centroids))


def nearest(
    features: Float[Array, "*shape d"],
    mean: Float[Array, " d"],
    std: Float[Array, " d"],
    centroids: Float[Array, "c d"],
) -> Int[Array, "*shape"]:
    """Cluster id of each feature vector, int32; the lower id wins a tie."""
    return jnp.argmin(distances_to(features, mean, std, centroids), axis=-1).astype(jnp.int32)
