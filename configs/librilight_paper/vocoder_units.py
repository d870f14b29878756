"""A SoundStream decoder of the semantic tokens alone, for Table I: 16 chips of TPU v4, not run.

audiolm train configs/librilight_paper/vocoder_units.py
"""

import dataclasses
from pathlib import Path

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig


def experiment() -> VocoderExperiment:
    """The codec's decoder with strides for 25 Hz, trained as the codec is."""
    codec = load_experiment(Path(__file__).with_name("soundstream.py"))
    return VocoderExperiment(
        directory="runs/librilight_paper/vocoder_units",
        data=codec.data,
        tokens="runs/librilight_paper/kmeans",
        crop_seconds=codec.crop_seconds,
        batch_size=codec.batch_size,
        model=dataclasses.replace(
            codec.model,
            strides=(2, 4, 8, 10),
            embedding_width=1024,
            quantizer=QuantizerConfig(levels=1, codebook_size=1024),
        ),
        train=codec.train,
        optimizer=codec.optimizer,
        discriminator_optimizer=codec.discriminator_optimizer,
        loop=codec.loop,
        mesh=codec.mesh,
    )
