"""Stage 3 goes on: with another codec and 24 more voices it made the bundle.

audiolm train configs/stories/fine_lm_2.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 1.6 s, the last 10 of 12 levels."""
    return dataclasses.replace(
        stage("fine", 1.6, "fine_lm_2", batch_size=4, steps=1000, layers=4),
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/fine_lm"),
    )
