"""Semantic tokens of the encoder beside it, not run: the layer is to be chosen by a sweep.

audiolm train configs/stories_medium/kmeans.py
"""

import dataclasses

from defaults import CLUSTERS, RUNS, SMALL

from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> KmeansExperiment:
    """Of the middle of the masked conformers, as in the paper."""
    small = load_experiment(SMALL / "kmeans.py")
    assert isinstance(small, KmeansExperiment)
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/kmeans",
        encoder=f"{RUNS}/encoder",
        kmeans=dataclasses.replace(small.kmeans, clusters=CLUSTERS, layer="masked_4"),
    )
