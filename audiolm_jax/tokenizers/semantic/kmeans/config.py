"""What k-means is asked for, and what it gives."""

import dataclasses
from typing import Literal

import numpy as np

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class KmeansConfig:
    """How features become clusters; the defaults are AudioLM's where it states them.

    The paper tells K, the layer and that dimensions are standardised (section III-B); it tells
    neither frames nor initialisation nor iterations.

    Attributes:
      clusters: K, number of clusters and of semantic token ids.
      layer: encoder layer the features come from: "contrastive_k" or "masked_k", k from 1, of
        w2v-BERT; "layer_k", k from 0, of imported encoders.
      iterations: most iterations of Lloyd's algorithm; it stops earlier once nothing moves.
      seed: of the initialisation, of mini-batches, and of the choice of clips if there are more
        than max_frames.
      max_frames: most frames to fit on; of more, clips are drawn until there are so many.
      initialisation: plus_plus: k-means++, K passes over frames that must all fit on one device.
        parallel: k-means||, some six passes over any number of frames.
      minibatch_steps: steps on random frames before Lloyd's algorithm; 0 for none. They bring
        the centroids of very many frames near their place for less than a pass.
      block_frames: frames that go to the devices at once, and frames of a mini-batch; must divide
        over the devices. Memory beside them: block_frames x K distances, twice.
    """

    clusters: int = 1024
    layer: str = "masked_7"
    iterations: int = 50
    seed: int = 0
    max_frames: int = 1_000_000
    initialisation: Literal["plus_plus", "parallel"] = "parallel"
    minibatch_steps: int = 0
    block_frames: int = 8192

    def __post_init__(self) -> None:
        for name in ("clusters", "iterations", "max_frames", "block_frames"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"kmeans.{name} = {getattr(self, name)}: expected a positive whole number"
                )
        if self.minibatch_steps < 0:
            raise InputError(f"kmeans.minibatch_steps = {self.minibatch_steps}: expected 0 or more")

    def check_frames(self) -> None:
        """Raises InputError if there may be fewer frames than clusters."""
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
      inertia: float64 [passes], mean squared distance to the nearest centroid at each pass over
        all frames, the last one with the centroids given here; never rises, but where an empty
        cluster was moved.
      counts: int64 [K], frames of each cluster; none is 0.
    """

    inertia: np.ndarray
    counts: np.ndarray
