"""Semantic tokens of the third encoder. Not run yet.

audiolm train configs/stories/kmeans_3.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> KmeansExperiment:
    """As those of the second."""
    second = load_experiment(Path(__file__).with_name("kmeans_2.py"))
    return dataclasses.replace(second, directory=f"{RUNS}/kmeans_3", encoder=f"{RUNS}/encoder_3")
