"""Stage 2 goes on, and reads some of its own mistakes.

audiolm train configs/stories/coarse_lm_5.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """1,100 steps from the weights of `coarse_lm_4.py`, three in ten inputs its own draws."""
    whole = stage("coarse", 5.0, "coarse_lm_5", batch_size=6, steps=1100)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        warm_start=WarmStartConfig(f"{RUNS}/coarse_lm_4"),
        train=dataclasses.replace(whole.train, own_share=0.3),
        optimizer=dataclasses.replace(whole.optimizer, learning_rate=1e-3, warmup_steps=50),
        loop=dataclasses.replace(whole.loop, evaluate_every=100, reference=None),
    )
