"""Both kinds of tokens, not run.

audiolm tokenize configs/librispeech/tokens.py
"""

from defaults import DATA, RUNS

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """64 shards of training clips."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens",
        data=DATA,
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        tokenize=TokenizeConfig(shards=64),
    )
