"""SoundStream of the paper's size on the synthetic stories, not run.

audiolm plan configs/stories_medium/codec.py --topology v5e:2x4
audiolm train configs/stories_medium/codec.py
"""

import dataclasses

from defaults import MESH, RUNS, SMALL, loop

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import OptimizerConfig

_OPTIMIZER = OptimizerConfig(learning_rate=3e-4, warmup_steps=0, b1=0.5, b2=0.9, clip_norm=None)


def experiment() -> CodecExperiment:
    """C = 32, 12 levels of 1024 codes at 50 Hz, 64 crops of 1.28 s."""
    small = load_experiment(SMALL / "codec.py")
    assert isinstance(small, CodecExperiment)
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/codec",
        warm_start=None,
        batch_size=64,
        model=SoundStreamConfig(),
        train=SoundStreamTrainConfig(
            discriminators=DiscriminatorConfig(grouped_convolution="block_diagonal"),
            generator_ema_decay=0.9999,
        ),
        optimizer=_OPTIMIZER,
        discriminator_optimizer=_OPTIMIZER,
        loop=loop(200_000),
        mesh=MESH,
    )
