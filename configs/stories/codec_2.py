"""The codec beside it goes on, from what was released of it; crops are played faster and slower.

unzip models/stories.zip -d models
audiolm train configs/stories/codec_2.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 2_400


def experiment() -> CodecExperiment:
    """As many steps again, the discriminators join after an eighth."""
    first = load_experiment(Path(__file__).with_name("codec.py"))
    assert first.warm_start
    return dataclasses.replace(
        first,
        directory=f"{RUNS}/codec_2",
        warm_start=dataclasses.replace(first.warm_start, source="models/stories/codec"),
        speed=1.2,
        train=dataclasses.replace(first.train, discriminator_start_step=STEPS // 8),
        loop=dataclasses.replace(first.loop, reference=None),
    )
