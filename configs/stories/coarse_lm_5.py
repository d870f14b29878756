"""Stage 2 goes on with one condition in seven hidden, so that generation can be guided, the first
part of it; coarse_lm_6.py ends it sooner than was planned.

audiolm train configs/stories/coarse_lm_5.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.training.config import OptimizerConfig, WarmStartConfig

PLANNED = 2200  # steps of the schedule


def hiding(model: StageModelConfig) -> StageModelConfig:
    """The same, some of whose training's conditions are hidden."""
    return dataclasses.replace(
        model, stage=dataclasses.replace(model.stage, condition_dropout=0.15)
    )


def gentle(optimizer: OptimizerConfig) -> OptimizerConfig:
    """For weights that have learnt much already."""
    return dataclasses.replace(optimizer, learning_rate=1.5e-3, warmup_steps=50)


def experiment() -> StageExperiment:
    """Crops of 5 s, the first 2 of 12 levels."""
    whole = stage("coarse", 5.0, "coarse_lm_5", batch_size=6, steps=PLANNED)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        warm_start=WarmStartConfig(source=f"{RUNS}/coarse_lm_4"),
        model=hiding(whole.model),
        optimizer=gentle(whole.optimizer),
        loop=dataclasses.replace(whole.loop, steps=700),
    )
