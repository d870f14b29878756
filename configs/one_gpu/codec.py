"""The light codec of configs/stories, wider, for one card; not run.

audiolm plan configs/one_gpu/codec.py --topology rtx4090x1
audiolm train configs/one_gpu/codec.py

It computes at the rate of the codes, where SoundStream's network works at the sample rate. A card
multiplies its float32 numbers as TF32; the codec has no bfloat16.
"""

import dataclasses
from pathlib import Path

from defaults import DATA, MESH, RUNS, loop, shortened

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import DiscriminatorConfig

STEPS = 150_000


def experiment() -> CodecExperiment:
    """12 levels of 1024 codes at 50 Hz, 32 crops of 1.28 s; blocks of width 512."""
    small = load_experiment(Path(__file__).parents[1] / "stories" / "codec.py")
    assert isinstance(small, CodecExperiment)
    assert small.model.frame_rate
    frame_rate = dataclasses.replace(
        small.model.frame_rate, width=512, encoder_blocks=6, decoder_blocks=8
    )
    # A step of 2,048 frames uses a code twice on average.
    quantizer = dataclasses.replace(small.model.quantizer, revival_threshold=0.3)
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/codec",
        data=DATA,
        batch_size=32,
        model=dataclasses.replace(small.model, frame_rate=frame_rate, quantizer=quantizer),
        train=dataclasses.replace(
            small.train,
            discriminators=DiscriminatorConfig(wave_width=8, wave_max_width=256, stft_width=16),
            discriminator_start_step=STEPS // 4,
        ),
        optimizer=shortened(small.optimizer, STEPS),
        discriminator_optimizer=shortened(small.discriminator_optimizer, STEPS),
        loop=dataclasses.replace(loop(STEPS), keep_best=0, export="last"),
        mesh=MESH,
    )
