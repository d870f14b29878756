"""Semantic tokens of the encoder beside it, not run.

audiolm train configs/piano/kmeans.py
"""

from defaults import CLUSTERS, DATA, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """300,000 frames of the layer that serves speech; on piano no sweep has chosen one."""
    return KmeansExperiment(
        directory=f"{RUNS}/kmeans",
        data=DATA,
        encoder=f"{RUNS}/encoder",
        kmeans=KmeansConfig(clusters=CLUSTERS, layer="masked_2", max_frames=300_000),
        phases=4,
    )
