"""Both kinds of tokens of all recordings.

unzip models/stories.zip -d models
audiolm tokenize configs/stories/tokens.py
"""

from defaults import CODEC, DATA, RUNS, SEMANTIC

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """32 shards of training clips, 1 of held-out clips."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens",
        data=DATA,
        codec=CODEC,
        semantic=SEMANTIC,
        tokenize=TokenizeConfig(shards=32),
    )
