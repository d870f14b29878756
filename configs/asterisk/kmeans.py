"""Semantic tokens of the encoder beside it: minutes on 2 CPU cores.

audiolm train configs/asterisk/kmeans.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiment import KmeansExperiment
from audiolm_jax.tokenizers.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """500 clusters: 350 frames each."""
    return KmeansExperiment(
        directory="runs/asterisk/kmeans",
        data=AudioDataConfig(
            audio_dir="data/asterisk_voices",
            dataset="asterisk_voices",
            exclude=("*/beep*.*", "*-2tone.*", "*/silence/*", "*/tt-monkeys.*"),  # no speech
        ),
        encoder="runs/asterisk/encoder",
        kmeans=KmeansConfig(clusters=500, layer="contrastive_1"),
    )
