"""What k-means is asked for, and what it gives."""

import dataclasses

import numpy as np

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class KmeansConfig:
    """How features become clusters; the defaults are AudioLM's where it states them.

    The paper tells K, the layer and that dimensions are standardized (section III-B); it tells
    neither frames nor initialization nor iterations.
    """

    clusters: int = 1024
    """K, number of clusters and of semantic token ids."""
    layer: str = "masked_7"
    """Encoder layer the features come from: "contrastive_k" or "masked_k", k from 1, of w2v-BERT;
    "layer_k", k from 0, of imported encoders."""
    iterations: int = 50
    """Most iterations of Lloyd's algorithm; it stops earlier once nothing moves."""
    seed: int = 0
    """Of the initialization, and of the choice of clips if there are more than max_frames."""
    max_frames: int = 1_000_000
    """Most frames to fit on; of more, clips are drawn until there are so many."""
    block_frames: int = 8192
    """Frames that go to the devices at once; must divide over the devices. Memory beside them:
    block_frames x K distances, twice."""

    def __post_init__(self) -> None:
        for name in ("clusters", "iterations", "max_frames", "block_frames"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"--kmeans.{name.replace('_', '-')} = {getattr(self, name)}: expected a "
                    "positive whole number"
                )

    def check_frames(self) -> None:
        """Raises InputError if there may be fewer frames than clusters."""
        if self.max_frames < self.clusters:
            raise InputError(
                f"--kmeans.max-frames = {self.max_frames}: expected at least clusters = "
                f"{self.clusters}"
            )


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
