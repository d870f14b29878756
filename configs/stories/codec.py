"""The light codec of configs/asterisk with longer windows that its encoder hears whole.

./launch/stories.sh; ./launch/asterisk.sh
mkdir data/voices; ln -s ../stories/train ../asterisk_voices data/voices/
audiolm train configs/stories/codec.py

Synthetic stories and four of the five real voices: the fifth is to be judged on.
"""

import dataclasses
from pathlib import Path

from defaults import CURVES, DATA, RUNS

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import FrameRateConfig

STEPS = 8_000
UNHEARD = "*/fr_CA_f_June/*"


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s; the discriminators join for the last eighth."""
    of_asterisk = load_experiment(Path(__file__).parents[1] / "asterisk" / "codec_light.py")
    assert of_asterisk.model.frame_rate
    # Spectra of 40 ms resolve the harmonics of a voice; those of 10 ms leave noise between them.
    frame_rate: FrameRateConfig = dataclasses.replace(
        of_asterisk.model.frame_rate, cells=2, synthesis_overlap=4, lookahead=3
    )
    return dataclasses.replace(
        of_asterisk,
        directory=f"{RUNS}/codec",
        data=dataclasses.replace(
            DATA,
            source="data/voices",
            dataset="voices",
            exclude=(*of_asterisk.data.exclude, UNHEARD),
        ),
        model=dataclasses.replace(of_asterisk.model, frame_rate=frame_rate),
        train=dataclasses.replace(of_asterisk.train, discriminator_start_step=STEPS * 7 // 8),
        optimizer=dataclasses.replace(of_asterisk.optimizer, total_steps=STEPS),
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
