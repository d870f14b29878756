"""Semantic tokens of the encoder beside it: minutes on 2 CPU cores.

audiolm train configs/asterisk/kmeans.py
"""

from pathlib import Path

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """500 clusters: 350 frames each."""
    encoder = load_experiment(Path(__file__).with_name("encoder.py"))
    return KmeansExperiment(
        directory="runs/asterisk/kmeans",
        data=encoder.data,
        encoder=encoder.directory,
        kmeans=KmeansConfig(clusters=500, layer="masked_2"),
    )
