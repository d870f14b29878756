"""Semantic tokens of the encoder beside it, which teach the next one.

audiolm train configs/stories/kmeans.py
"""

from defaults import DATA, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """300,000 frames of the layer that the sweep of configs/asterisk chose."""
    return KmeansExperiment(
        directory=f"{RUNS}/kmeans",
        data=DATA,
        encoder=f"{RUNS}/encoder",
        kmeans=KmeansConfig(clusters=200, layer="masked_2", max_frames=300_000),
        phases=4,
    )
