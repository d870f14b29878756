"""k-means on features of the demo's encoder: seconds on 2 CPU cores.

audiolm train configs/demo/kmeans.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig


def experiment() -> KmeansExperiment:
    """64 clusters of the first masked-prediction layer."""
    return KmeansExperiment(
        directory="runs/demo/kmeans",
        data=AudioDataConfig(
            audio_dir="data/asterisk",
            dataset="asterisk_en",
            exclude=("*/beep*.*", "*/tt-monkeys.*"),  # no speech
        ),
        encoder="runs/demo/encoder",
        kmeans=KmeansConfig(clusters=64, layer="masked_1"),
    )
