"""Both kinds of tokens of all recordings: about a minute on 2 CPU cores.

audiolm tokenize configs/demo/tokens.py
"""

from defaults import DATA

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """8 shards of training clips, 1 of held-out clips."""
    return TokenizeExperiment(
        directory="runs/demo/tokens",
        data=DATA,
        codec="runs/demo/codec",
        semantic="runs/demo/kmeans",
        tokenize=TokenizeConfig(shards=8),
    )
