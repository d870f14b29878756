"""SoundStream made small, beside codec_light.py: the paper's network, narrower; all else is equal.

audiolm train configs/asterisk/soundstream.py

Equal steps are not equal time, for this network is the slower one: set --loop.steps,
--optimizer.total-steps and --discriminator-optimizer.total-steps to what the time of the light one
allows.
"""

import dataclasses
from pathlib import Path

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s, as in AudioLM."""
    light = load_experiment(Path(__file__).with_name("codec_light.py"))
    return dataclasses.replace(
        light,
        directory="runs/asterisk/soundstream",
        model=dataclasses.replace(light.model, frame_rate=None, channels=16),
    )
