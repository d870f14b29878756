"""SoundStream, small: about 8 minutes on 2 CPU cores.

audiolm train configs/demo/codec.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiment import CodecExperiment
from audiolm_jax.runtime.loop import LoopConfig
from audiolm_jax.runtime.optim import OptimizerConfig
from audiolm_jax.tokenizers.soundstream.discriminators import DiscriminatorConfig
from audiolm_jax.tokenizers.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.soundstream.train import SoundStreamTrainConfig

STEPS = 1000


def experiment() -> CodecExperiment:
    """8 levels of 256 codes at 50 Hz: 3.2 kbit/s."""
    return CodecExperiment(
        directory="runs/demo/codec",
        data=AudioDataConfig(audio_dir="data/asterisk", dataset="asterisk_en"),
        crop_seconds=1.0,
        batch_size=4,
        model=SoundStreamConfig(
            channels=12,
            embedding_width=64,
            quantizer=QuantizerConfig(levels=8, codebook_size=256, revival_threshold=0.05),
        ),
        train=SoundStreamTrainConfig(
            discriminators=DiscriminatorConfig(
                wave_width=4, wave_max_width=64, grouped_convolution="block_diagonal", stft_width=4
            ),
            discriminator_start_step=700,
            discriminator_every=2,
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=50, schedule="cosine", total_steps=STEPS
        ),
        discriminator_optimizer=OptimizerConfig(learning_rate=5e-4, warmup_steps=10, b1=0.5),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=STEPS // 4, checkpoint_every=100),
    )
