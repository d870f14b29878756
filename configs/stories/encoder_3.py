"""The encoder of the bundle goes on, with more voices of Pico and flite. Not finished.

unzip models/stories.zip -d models
audiolm train configs/stories/encoder_3.py
"""

import dataclasses
from pathlib import Path

from defaults import CLUSTERS, RUNS, SEMANTIC

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.training.config import WarmStartConfig

STEPS = 3_500


def experiment() -> EncoderExperiment:
    """It guesses the units of the bundle, heard in phases."""
    second = load_experiment(Path(__file__).with_name("encoder_2.py"))
    return dataclasses.replace(
        second,
        directory=f"{RUNS}/encoder_3",
        teacher=SEMANTIC,
        warm_start=WarmStartConfig(
            source=SEMANTIC,
            renames={r"params\.(.*)": r"params.encoder.\1"},
            fresh=(r"params\.head\..*",),
            dropped=(r"params\.encoder\.head\..*", r"params\.kmeans\..*"),
        ),
        model=dataclasses.replace(second.model, codebook_size=CLUSTERS),
        optimizer=dataclasses.replace(second.optimizer, total_steps=STEPS),
        loop=dataclasses.replace(second.loop, steps=STEPS, reference=None),
    )
