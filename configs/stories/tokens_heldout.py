"""Both kinds of tokens of stories and voices that no part was trained on, to judge the stages by.

unzip models/stories.zip -d models
audiolm tokenize configs/stories/tokens_heldout.py
"""

import dataclasses

from defaults import CODEC, DATA, RUNS, SEMANTIC

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """All but one or two files of the folder, which is for this."""
    return TokenizeExperiment(
        directory=f"{RUNS}/tokens_heldout",
        data=dataclasses.replace(
            DATA,
            source="data/stories/heldout_both",
            dataset="stories_heldout_both",
            heldout_percent=99,
        ),
        codec=CODEC,
        semantic=SEMANTIC,
        tokenize=TokenizeConfig(shards=1),
    )
