"""Both kinds of tokens of all performances, not run.

audiolm tokenize configs/piano/tokens.py
"""

from defaults import DATA, RUNS

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """16 shards of training clips, 1 of held-out clips."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens",
        data=DATA,
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        tokenize=TokenizeConfig(shards=16),
    )
