"""Semantic tokens of music: 1024 clusters of the seventh masked-prediction layer, not run.

audiolm train configs/piano_paper/kmeans.py
"""

import dataclasses

from defaults import DATA, RUNS, SPEECH

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> KmeansExperiment:
    """As of speech."""
    speech = load_experiment(SPEECH / "kmeans.py")
    assert isinstance(speech, KmeansExperiment)
    return dataclasses.replace(
        speech, directory=f"{RUNS}/kmeans", data=DATA, encoder=f"{RUNS}/encoder"
    )
