"""The light codec of configs/asterisk on synthetic stories, half as many steps again.

audiolm train configs/stories/codec.py
"""

import dataclasses
from pathlib import Path

from defaults import DATA, RUNS

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 12_000


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s; the discriminators join for the last quarter."""
    light = load_experiment(Path(__file__).parents[1] / "asterisk" / "codec_light.py")
    return dataclasses.replace(
        light,
        directory=f"{RUNS}/codec",
        data=DATA,
        train=dataclasses.replace(light.train, discriminator_start_step=STEPS * 3 // 4),
        optimizer=dataclasses.replace(light.optimizer, total_steps=STEPS),
        discriminator_optimizer=dataclasses.replace(
            light.discriminator_optimizer, total_steps=STEPS
        ),
        loop=dataclasses.replace(light.loop, steps=STEPS, checkpoint_every=250),
    )
