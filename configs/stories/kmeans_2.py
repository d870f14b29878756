"""Semantic tokens of the second encoder.

audiolm train configs/stories/kmeans_2.py
"""

import dataclasses
from pathlib import Path

from defaults import CLUSTERS, RUNS

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> KmeansExperiment:
    """Of the last block."""
    first = load_experiment(Path(__file__).with_name("kmeans.py"))
    return dataclasses.replace(
        first,
        directory=f"{RUNS}/kmeans_2",
        encoder=f"{RUNS}/encoder_2",
        kmeans=dataclasses.replace(first.kmeans, clusters=CLUSTERS, layer="masked_4"),
    )
