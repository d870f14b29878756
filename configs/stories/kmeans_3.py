"""Semantic tokens of the third encoder.

audiolm train configs/stories/kmeans_3.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> KmeansExperiment:
    """200 clusters of the last block; the bundle of now has 100 of the second encoder's."""
    second = load_experiment(Path(__file__).with_name("kmeans_2.py"))
    return dataclasses.replace(
        second,
        directory=f"{RUNS}/kmeans_3",
        encoder=f"{RUNS}/encoder_3",
        kmeans=dataclasses.replace(second.kmeans, clusters=200, layer="masked_6"),
    )
