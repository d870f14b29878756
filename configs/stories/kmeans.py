"""Semantic tokens of the encoder beside it: models/stories_units.zip.

audiolm train configs/stories/kmeans.py
"""

from defaults import CLUSTERS, DATA, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """A million frames of the layer that the sweep of configs/asterisk chose."""
    return KmeansExperiment(
        directory=f"{RUNS}/kmeans",
        data=DATA,
        encoder=f"{RUNS}/encoder",
        kmeans=KmeansConfig(clusters=CLUSTERS, layer="masked_2"),
    )
