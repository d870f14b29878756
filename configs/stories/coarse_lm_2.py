"""Stage 2 goes on from the config beside it, on crops of what it hears and writes at once.

audiolm train configs/stories/coarse_lm_2.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 5 s."""
    return dataclasses.replace(
        stage("coarse", 5.0, "coarse_lm_2", batch_size=4, steps=1200),
        warm_start=WarmStartConfig(source=f"{RUNS}/coarse_lm"),
    )
