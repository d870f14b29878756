"""Features of w2v-BERT XL in 24 levels of 1,024 codes, 6 kbit/s: a row of Table I, not run.

audiolm train configs/librilight_paper/residual.py

The million frames lie in memory twice: 8 GB.
"""

from defaults import DATA

from audiolm_jax.experiments.residual import ResidualExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.training.config import MeshConfig


def experiment() -> ResidualExperiment:
    """Of the layer that the semantic tokens are of; all devices of one host."""
    return ResidualExperiment(
        directory="runs/librilight_paper/residual",
        data=DATA,
        encoder="runs/librilight_paper/encoder",
        batch_size=32,
        kmeans=KmeansConfig(clusters=1024, layer="masked_7"),
        levels=24,
        mesh=MeshConfig(preset="dp"),
    )
