"""SoundStream, small: about 8 minutes on 2 CPU cores.

audiolm train configs/demo/codec.py
"""

import dataclasses

from defaults import CODES, DATA, LEVELS, loop

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import OptimizerConfig

STEPS = 700
_OPTIMIZER = OptimizerConfig(
    learning_rate=1e-3,
    warmup_steps=20,
    schedule="cosine",
    total_steps=STEPS,
    final_fraction=0.05,
)


def experiment() -> CodecExperiment:
    """8 levels of 256 codes at 50 Hz: 3.2 kbit/s."""
    return CodecExperiment(
        directory="runs/demo/codec",
        data=DATA,
        crop_seconds=1.0,
        batch_size=4,
        # Most of the time goes into the layers near the sample rate: they are narrow here.
        model=SoundStreamConfig(
            channels=8,
            width_multipliers=(1, 2, 8, 16, 32),
            embedding_width=128,
            quantizer=QuantizerConfig(
                levels=LEVELS, codebook_size=CODES, decay=0.95, revival_threshold=0.2
            ),
        ),
        # The discriminators join for the last quarter: before it the spectral loss gains more.
        train=SoundStreamTrainConfig(
            discriminators=DiscriminatorConfig(
                wave_width=4,
                wave_max_width=64,
                grouped_convolution="block_diagonal",
                stft_width=4,
                stft_window=512,
            ),
            discriminator_start_step=STEPS * 3 // 4,
            discriminator_every=2,
            generator_ema_decay=0.99,
        ),
        optimizer=_OPTIMIZER,
        discriminator_optimizer=dataclasses.replace(_OPTIMIZER, learning_rate=5e-4),
        loop=loop(STEPS),
    )
