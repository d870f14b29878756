"""The light codec of configs/asterisk, trained on for synthetic stories and its five real voices.

./launch/stories.sh; ./launch/asterisk.sh
mkdir data/voices; ln -s ../stories/train ../asterisk_voices data/voices/
audiolm train configs/asterisk/codec_light.py
audiolm train configs/stories/codec.py
"""

import dataclasses
from pathlib import Path

from defaults import CURVES, DATA, RUNS

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.training.config import WarmStartConfig

STEPS = 2_400
# What a released codec holds are the averaged weights, for both the weights and their averages.
_RELEASED = WarmStartConfig(
    source="runs/asterisk/codec_light/model",
    renames={
        r"params\.generator\.(.*)": r"params.\1",
        r"ema\.(.*)": r"params.\1",
        r"rest\.codebooks\.vectors": "params.quantizer.codebooks",
    },
    fresh=(r"params\.discriminator\..*", r"rest\.codebooks\.(counts|sums|is_initialized)"),
)


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s; the discriminators join after a quarter."""
    of_asterisk = load_experiment(Path(__file__).parents[1] / "asterisk" / "codec_light.py")
    return dataclasses.replace(
        of_asterisk,
        directory=f"{RUNS}/codec",
        data=dataclasses.replace(
            DATA,
            source="data/voices",
            dataset="voices",
            exclude=of_asterisk.data.exclude,
            heldout_percent=of_asterisk.data.heldout_percent,
        ),
        warm_start=_RELEASED,
        train=dataclasses.replace(of_asterisk.train, discriminator_start_step=STEPS // 4),
        optimizer=dataclasses.replace(
            of_asterisk.optimizer, learning_rate=5e-4, warmup_steps=200, total_steps=STEPS
        ),
        discriminator_optimizer=dataclasses.replace(
            of_asterisk.discriminator_optimizer, total_steps=STEPS
        ),
        loop=dataclasses.replace(
            of_asterisk.loop,
            steps=STEPS,
            evaluate_every=500,
            checkpoint_every=100,
            reference=f"{CURVES}/codec.jsonl",
        ),
    )
