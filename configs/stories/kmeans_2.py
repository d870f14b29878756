"""Semantic tokens of the second encoder, in phases: models/stories_units.zip.

audiolm train configs/stories/kmeans_2.py
"""

from defaults import CLUSTERS, DATA, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """300,000 frames of the last block."""
    return KmeansExperiment(
        directory=f"{RUNS}/kmeans_2",
        data=DATA,
        encoder=f"{RUNS}/encoder_2",
        kmeans=KmeansConfig(clusters=CLUSTERS, layer="masked_4", max_frames=300_000),
        phases=4,
    )
