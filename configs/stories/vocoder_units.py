"""A decoder of the bundle's semantic units alone, for Table I: what of the sound they keep.

unzip models/stories.zip -d models
audiolm train configs/stories/vocoder_units.py
"""

import dataclasses
from pathlib import Path

from defaults import CLUSTERS, DATA, RUNS, SEMANTIC

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig, SoundStreamConfig

STEPS = 400


def experiment() -> VocoderExperiment:
    """The codec's decoder at 25 Hz, its losses but for phases, which no units tell."""
    codec = load_experiment(Path(__file__).with_name("codec.py"))
    frame_rate = dataclasses.replace(codec.model.frame_rate, cells=4)
    losses = dataclasses.replace(codec.train.losses, complex_weight=0.0)
    return VocoderExperiment(
        directory=f"{RUNS}/vocoder_units",
        data=DATA,
        tokens=SEMANTIC,
        crop_seconds=2.56,
        batch_size=6,
        model=SoundStreamConfig(
            strides=(2, 4, 8, 10),
            embedding_width=160,
            quantizer=QuantizerConfig(levels=1, codebook_size=CLUSTERS),
            frame_rate=frame_rate,
        ),
        train=dataclasses.replace(
            codec.train,
            losses=losses,
            discriminator_start_step=STEPS * 3 // 4,
            generator_ema_decay=0.98,  # the codec's would remember the first steps
        ),
        optimizer=dataclasses.replace(codec.optimizer, total_steps=STEPS),
        discriminator_optimizer=dataclasses.replace(
            codec.discriminator_optimizer, total_steps=STEPS
        ),
        loop=dataclasses.replace(
            codec.loop,
            steps=STEPS,
            log_every=20,
            evaluate_every=100,
            heldout_batches=2,
            checkpoint_every=50,
            reference=None,
        ),
    )
