"""Semantic tokens of the encoder beside it, not run: sweep.py is to choose layer and K.

audiolm train configs/one_gpu/kmeans.py
"""

from defaults import DATA, MESH, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """500 clusters of the middle of the masked conformers."""
    return KmeansExperiment(
        directory=f"{RUNS}/kmeans",
        data=DATA,
        encoder=f"{RUNS}/encoder",
        batch_size=16,
        kmeans=KmeansConfig(clusters=500, layer="masked_3"),
        phases=4,
        mesh=MESH,
    )
