"""Both kinds of tokens of all recordings.

audiolm tokenize configs/stories/tokens.py
"""

from defaults import DATA, RUNS

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """32 shards of training clips, 1 of held-out clips."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens",
        data=DATA,
        codec="models/stories_codec",
        semantic="models/stories_units",
        tokenize=TokenizeConfig(shards=32),
    )
