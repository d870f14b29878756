"""What k-means is asked for, and what it gives."""

import dataclasses

import numpy as np

from audiolm_jax.errors import InputError, check_fields

# Frames a second of the fastest encoder there is.
HIGHEST_RATE_HZ = 50


@dataclasses.dataclass(frozen=True)
class KmeansConfig:
    """How features become clusters; K, layer and standardization are AudioLM's (section III-B)."""

    clusters: int = 1024
    """K, number of clusters and of semantic token ids."""
    layer: str = "masked_7"
    """Encoder layer: "contrastive_k" or "masked_k", k from 1; "layer_k", k from 0, if imported."""
    iterations: int = 50
    """Most iterations of Lloyd's algorithm; it stops earlier once nothing moves."""
    seed: int = 0
    """Of the initialization, and of the choice of clips if there are more than max_frames."""
    max_frames: int = 1_000_000
    """Most frames to fit on; of more, clips are drawn until there are so many."""
    block_frames: int = 8192
    """Frames on a device at once; memory there beside them: 2 x this x K floats."""

    def __post_init__(self) -> None:
        numbers = "clusters iterations max_frames block_frames"
        check_fields(self, "--kmeans", numbers, lambda x: x >= 1, "a positive whole number")

    def check_frames(self) -> None:
        """Raises InputError if there may be fewer frames than clusters."""
        at_least = f"at least clusters = {self.clusters}"
        check_fields(self, "--kmeans", "max_frames", lambda x: x >= self.clusters, at_least)

    def check_available(self, frames: int) -> None:
        """InputError if that is fewer frames than clusters."""
        if frames < self.clusters:
            words = f"{frames} frames for --kmeans.clusters = {self.clusters}"
            raise InputError(f"{words}: use more audio or fewer clusters")

    def check_seconds(self, seconds: float, clips: int) -> None:
        """The same of recordings before their encoder is known."""
        self.check_available(int(seconds * HIGHEST_RATE_HZ) + clips)


@dataclasses.dataclass(frozen=True)
class Clustering:
    """Centroids, and the scale of the features that they divide."""

    mean: np.ndarray  # float32 [d], taken off each feature dimension
    std: np.ndarray  # float32 [d], what it is then divided by
    centroids: np.ndarray  # float32 [K, d], in those units


@dataclasses.dataclass(frozen=True)
class KmeansResult(Clustering):
    """A fitted clustering: `std` is 1 where a dimension never varies, and no cluster is empty."""

    # float64 [passes]: mean squared distance to the nearest centroid at each pass over all frames,
    # the last one with the centroids given here; never rises, but where an empty cluster was moved.
    inertia: np.ndarray
    counts: np.ndarray  # int64 [K], frames of each cluster


@dataclasses.dataclass(frozen=True)
class ResidualClustering:
    """Codebooks one after another, each of what the ones before leave over."""

    mean: np.ndarray  # float32 [d], taken off each feature dimension
    std: np.ndarray  # float32 [d], what it is then divided by
    codebooks: np.ndarray  # float32 [q, K, d], in those units
    inertia: np.ndarray  # float64 [q], mean squared length of what is left over after each level
