"""Codec at AudioLM's token rates on synthetic stories, for 2 CPU cores.

audiolm train configs/stories/codec.py
"""

import dataclasses

from defaults import DATA

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    FrameRateConfig,
    LossConfig,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

STEPS = 12_000
_OPTIMIZER = OptimizerConfig(
    learning_rate=1e-3,
    warmup_steps=50,
    schedule="cosine",
    total_steps=STEPS,
    final_fraction=0.02,
)


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s, as in AudioLM; the network runs at 50 Hz too."""
    return CodecExperiment(
        directory="runs/stories/codec",
        data=DATA,
        crop_seconds=1.28,
        batch_size=6,
        model=SoundStreamConfig(
            embedding_width=64,
            frame_rate=FrameRateConfig(width=384, encoder_blocks=4, decoder_blocks=6),
            quantizer=QuantizerConfig(revival_threshold=0.05),  # of 0.375 uses of a code a step
        ),
        train=SoundStreamTrainConfig(
            # The floor: what is 60 dB below speech must not weigh as much as speech.
            losses=LossConfig(complex_weight=10.0, log_floor=3e-3),
            # The discriminators join for the last quarter: before it the spectral loss gains more.
            discriminators=DiscriminatorConfig(
                wave_width=4,
                wave_max_width=64,
                grouped_convolution="block_diagonal",
                stft_width=8,
                stft_window=512,
            ),
            discriminator_start_step=STEPS * 3 // 4,
            discriminator_every=2,
            quantizer_dropout=0.5,
            generator_ema_decay=0.999,
        ),
        optimizer=_OPTIMIZER,
        discriminator_optimizer=dataclasses.replace(_OPTIMIZER, learning_rate=5e-4),
        loop=LoopConfig(steps=STEPS, log_every=50, evaluate_every=1000, checkpoint_every=250),
        samples=4,
    )
