"""Stage 2 goes on with one condition in seven hidden, so that generation can be guided.

audiolm train configs/stories/coarse_lm_5.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 5 s, the first 2 of 12 levels."""
    whole = stage("coarse", 5.0, "coarse_lm_5", batch_size=6, steps=2200)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/coarse_lm_4"),
        model=dataclasses.replace(
            whole.model, stage=dataclasses.replace(whole.model.stage, condition_dropout=0.15)
        ),
        optimizer=dataclasses.replace(whole.optimizer, learning_rate=1.5e-3, warmup_steps=50),
        loop=dataclasses.replace(whole.loop, reference=None),
    )
