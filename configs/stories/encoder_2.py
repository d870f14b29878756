"""The encoder beside it goes on: it learns to guess its own units, heard in phases.

audiolm train configs/stories/encoder_2.py
"""

import dataclasses
from pathlib import Path

from defaults import CURVES, RUNS

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.training.config import WarmStartConfig

STEPS = 3_000
TEACHER = f"{RUNS}/kmeans"


def experiment() -> EncoderExperiment:
    """Four masked conformers in place of 2 + 2: one task is left."""
    first = load_experiment(Path(__file__).with_name("encoder.py"))
    teacher = load_experiment(Path(__file__).with_name("kmeans.py"))
    return dataclasses.replace(
        first,
        directory=f"{RUNS}/encoder_2",
        teacher=TEACHER,
        warm_start=WarmStartConfig(
            source=f"{first.directory}/model",
            renames={},
            fresh=(r"params\.head\..*",),
            dropped=(r"params\.(quantizer|context|head)\..*",),
        ),
        model=dataclasses.replace(
            first.model,
            objective="units",
            contrastive_layers=0,
            masked_layers=4,
            codebook_size=teacher.kmeans.clusters,
        ),
        train=dataclasses.replace(
            first.train, visible_weight=1.0, frequency_warp=0.2, time_shift=0.5
        ),
        optimizer=dataclasses.replace(
            first.optimizer, learning_rate=1e-3, warmup_steps=150, total_steps=STEPS
        ),
        loop=dataclasses.replace(first.loop, steps=STEPS, reference=f"{CURVES}/encoder_2.jsonl"),
    )
