"""Both kinds of tokens of all recordings: about a minute on 2 CPU cores.

audiolm tokenize configs/demo/tokens.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.experiment import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """8 shards of training clips, 1 of held-out clips."""
    return TokenizeExperiment(
        directory="runs/demo/tokens",
        data=AudioDataConfig(
            audio_dir="data/asterisk",
            dataset="asterisk_en",
            exclude=("*/beep*.*", "*/tt-monkeys.*"),  # no speech
        ),
        codec="runs/demo/codec",
        semantic="runs/demo/kmeans",
        tokenize=TokenizeConfig(shards=8),
    )
