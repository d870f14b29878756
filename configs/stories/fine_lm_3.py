"""Stage 3 goes on once more: it made the bundle.

audiolm train configs/stories/fine_lm_3.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 1.6 s, the last 10 of 12 levels."""
    whole = stage("fine", 1.6, "fine_lm_3", batch_size=4, steps=500, layers=4)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/fine_lm_2"),
        optimizer=dataclasses.replace(whole.optimizer, warmup_steps=50),
    )
