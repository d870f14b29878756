"""What a stage 2 without semantic tokens makes of the prompts that world.py judges.

audiolm train configs/stories/bundle_alone.py
audiolm evaluate configs/stories/world_alone.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.world.experiment import WorldExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> WorldExperiment:
    """The same prompts, seeds and ears; without units there is nothing to revoice."""
    told = load_experiment(Path(__file__).with_name("world.py"))
    assert isinstance(told, WorldExperiment)
    return dataclasses.replace(
        told,
        directory=f"{RUNS}/world_alone",
        title="What a stage 2 without semantic tokens says",
        bundle=f"{RUNS}/bundle_alone",
        tokens=None,
        temperatures=(0.6,),
        revoiced=0,
        bands=(),
    )
