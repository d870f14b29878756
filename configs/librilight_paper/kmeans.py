"""AudioLM's semantic tokens: 1024 clusters of the seventh masked-prediction layer, not run.

audiolm train configs/librilight_paper/kmeans.py

The paper does not say how many frames it fits on; a million here, 11 hours.
"""

from defaults import DATA

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.training.config import MeshConfig


def experiment() -> KmeansExperiment:
    """All devices of one host, or of several."""
    return KmeansExperiment(
        directory="runs/librilight_paper/kmeans",
        data=DATA,
        encoder="runs/librilight_paper/encoder",
        batch_size=32,
        kmeans=KmeansConfig(clusters=1024, layer="masked_7"),
        mesh=MeshConfig(preset="dp"),
    )
