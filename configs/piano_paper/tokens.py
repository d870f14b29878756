"""Both kinds of tokens of the piano recordings, not run.

audiolm tokenize configs/piano_paper/tokens.py
"""

import dataclasses

from defaults import DATA, RUNS, SPEECH

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """As of speech."""
    speech = load_experiment(SPEECH / "tokens.py")
    assert isinstance(speech, TokenizeExperiment)
    return dataclasses.replace(
        speech,
        directory=f"{RUNS}/tokens",
        data=DATA,
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
    )
