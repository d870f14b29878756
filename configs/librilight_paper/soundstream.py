"""SoundStream as in the paper, at AudioLM's rates: 16 chips of TPU v4 (or v5p), not run.

audiolm plan configs/librilight_paper/soundstream.py --topology v4:2x2x4
audiolm train configs/librilight_paper/soundstream.py

8.4 M parameters; 384 s of audio a step. Layers, losses and their weights, discriminators, codebook
updates and quantiser dropout are the paper's, but for what docs/reference/deviations.md lists (half
as wide residual units and a commitment loss among it). It names no optimiser, rate, batch or
length; those here are EnCodec's (Adam 3e-4, beta 0.5 and 0.9, 600,000 updates), but for the batch:
128 crops of 3 s, the paper's crop, because 1024 codes want many frames a step.

Everything is float32: the codec has no bfloat16 option, and none was tried. On a TPU XLA then
multiplies convolutions in one bfloat16 pass all the same; activations keep four bytes, so it is
memory that bfloat16 would halve. Distances to codes are multiplied in full precision.
EnCodec's balancer: --train.losses.adversarial-weight 3 --train.losses.feature-weight 3
train.balancer:balancer-config
"""

from defaults import DATA, loop

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import MeshConfig, OptimizerConfig

_OPTIMIZER = OptimizerConfig(learning_rate=3e-4, warmup_steps=0, b1=0.5, b2=0.9, clip_norm=None)


def experiment() -> CodecExperiment:
    """C = 32, 12 levels of 1024 codes at 50 Hz: 6 kbit/s."""
    return CodecExperiment(
        directory="runs/librilight_paper/codec",
        data=DATA,
        crop_seconds=3.0,
        batch_size=128,
        model=SoundStreamConfig(
            channels=32,
            quantizer=QuantizerConfig(
                levels=12, codebook_size=1024, decay=0.99, revival_threshold=2.0
            ),
        ),
        train=SoundStreamTrainConfig(
            discriminators=DiscriminatorConfig(grouped_convolution="lane_blocks"),
            quantizer_dropout=1.0,
        ),
        optimizer=_OPTIMIZER,
        discriminator_optimizer=_OPTIMIZER,
        loop=loop(600_000),
        mesh=MeshConfig(preset="dp"),
    )
