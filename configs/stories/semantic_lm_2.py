"""Stage 1 goes on from the config beside it, on longer crops.

audiolm train configs/stories/semantic_lm_2.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import WarmStartConfig


def experiment() -> StageExperiment:
    """Crops of 15 s: several sentences of a story."""
    return dataclasses.replace(
        stage(
            "semantic", 15.0, "semantic_lm_2", batch_size=8, steps=1800, softmax="all", dropout=0.1
        ),
        warm_start=WarmStartConfig(source=f"{RUNS}/semantic_lm"),
    )
