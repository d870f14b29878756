"""Stage 2 without semantic tokens: the paper's ablation, as long as the one beside it; not run.

audiolm train configs/stories/coarse_alone.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Bundled in place of coarse_lm it goes on from the sound before alone."""
    told = load_experiment(Path(__file__).with_name("coarse_lm.py"))
    assert isinstance(told, StageExperiment)
    alone = dataclasses.replace(told.model.stage, semantic_condition=False)
    return dataclasses.replace(
        told,
        directory=f"{RUNS}/coarse_alone",
        model=dataclasses.replace(told.model, stage=alone),
        loop=dataclasses.replace(told.loop, reference=None),
    )
