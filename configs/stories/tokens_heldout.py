"""Both kinds of tokens of stories and voices that no part was trained on, to judge the stages by.

unzip models/stories.zip -d models
audiolm tokenize configs/stories/tokens_heldout.py
"""

from defaults import CODEC, HELDOUT, RUNS, SEMANTIC

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """In the split `heldout`."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens_heldout",
        data=HELDOUT,
        codec=CODEC,
        semantic=SEMANTIC,
        tokenize=TokenizeConfig(shards=1),
    )
