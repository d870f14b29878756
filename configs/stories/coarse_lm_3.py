"""Stage 2 goes on once more, the first half of it; coarse_lm_4.py ends it sooner than was planned.

audiolm train configs/stories/coarse_lm_3.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig

PLANNED = 2200  # steps of the schedule


def experiment() -> StageExperiment:
    """Crops of 5 s, the first 2 of 12 levels."""
    whole = stage("coarse", 5.0, "coarse_lm_3", batch_size=6, steps=PLANNED)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/coarse_lm_2"),
        optimizer=dataclasses.replace(whole.optimizer, warmup_steps=50),
        loop=dataclasses.replace(whole.loop, steps=1109),
    )
