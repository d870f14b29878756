"""k-means on features of the demo's encoder: seconds on 2 CPU cores.

audiolm train configs/demo/kmeans.py
"""

from defaults import CLUSTERS, DATA

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """64 clusters of the first masked-prediction layer."""
    return KmeansExperiment(
        directory="runs/demo/kmeans",
        data=DATA,
        encoder="runs/demo/encoder",
        kmeans=KmeansConfig(clusters=CLUSTERS, layer="masked_1"),
    )
