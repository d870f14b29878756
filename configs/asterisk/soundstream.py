"""SoundStream made small, on five voices: about 2 hours on 2 CPU cores.

audiolm train configs/asterisk/soundstream.py

Data, quantiser and losses are those of codec_light.py; the network is the paper's, narrower.
"""

import dataclasses

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiment import CodecExperiment
from audiolm_jax.runtime.loop import LoopConfig
from audiolm_jax.runtime.optim import OptimizerConfig
from audiolm_jax.tokenizers.soundstream.discriminators import DiscriminatorConfig
from audiolm_jax.tokenizers.soundstream.losses import LossConfig
from audiolm_jax.tokenizers.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.soundstream.train import SoundStreamTrainConfig

STEPS = 14_000
_OPTIMIZER = OptimizerConfig(
    learning_rate=1e-3,
    warmup_steps=50,
    schedule="cosine",
    total_steps=STEPS,
    final_fraction=0.02,
)


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 6 kbit/s, as in AudioLM."""
    return CodecExperiment(
        directory="runs/asterisk/soundstream",
        data=AudioDataConfig(
            audio_dir="data/asterisk_voices",
            dataset="asterisk_voices",
            exclude=("*/beep*.*", "*-2tone.*", "*/silence/*", "*/tt-monkeys.*"),  # no speech
        ),
        crop_seconds=1.28,
        batch_size=6,
        model=SoundStreamConfig(
            embedding_width=64,
            channels=16,
            quantizer=QuantizerConfig(revival_threshold=0.05),  # of 0.375 uses of a code a step
        ),
        train=SoundStreamTrainConfig(
            losses=LossConfig(complex_weight=10.0),
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
        loop=LoopConfig(steps=STEPS, log_every=50, evaluate_every=1000, checkpoint_every=500),
        samples=4,
    )
