"""Both kinds of tokens, not run.

audiolm tokenize configs/stories_medium/tokens.py
"""

import dataclasses

from defaults import RUNS, SMALL

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """By the codec and the k-means beside it."""
    small = load_experiment(SMALL / "tokens.py")
    assert isinstance(small, TokenizeExperiment)
    return dataclasses.replace(
        small, directory=f"{RUNS}/tokens", codec=f"{RUNS}/codec", semantic=f"{RUNS}/kmeans"
    )
