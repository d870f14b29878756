"""Stage 2 goes on: with another codec and 24 more voices it made the bundle.

audiolm train configs/stories/coarse_lm_2.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 5 s, the first 2 of 12 levels."""
    return dataclasses.replace(
        stage("coarse", 5.0, "coarse_lm_2", batch_size=6, steps=1000),
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/coarse_lm"),
    )
