"""Features of the bundle's encoder in 24 levels of 1,024 codes, 6 kbit/s: a row of Table I.

unzip models/stories.zip -d models
audiolm train configs/stories/residual.py
"""

from defaults import CLUSTERS, DATA, RUNS, SEMANTIC

from audiolm_jax.experiments.residual import ResidualExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> ResidualExperiment:
    """Of the layer that the units are of; on 20 minutes."""
    return ResidualExperiment(
        directory=f"{RUNS}/residual",
        data=DATA,
        encoder=SEMANTIC,
        kmeans=KmeansConfig(clusters=CLUSTERS, layer="masked_4", iterations=5, max_frames=30_000),
        levels=24,
    )
