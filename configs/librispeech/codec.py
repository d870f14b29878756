"""SoundStream of the paper's size on LibriSpeech, not run.

audiolm plan configs/librispeech/codec.py --topology h100x8 v5e-16
audiolm train configs/librispeech/codec.py

As configs/librilight_paper/soundstream.py, but for half the steps on a third of the audio each. On
TPUs: --train.discriminators.grouped-convolution lane_blocks
"""

import dataclasses
from pathlib import Path

from defaults import DATA, MESH, RUNS, loop

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import SoundStreamTrainConfig


def experiment() -> CodecExperiment:
    """C = 32, 12 levels of 1024 codes at 50 Hz, 64 crops of 2 s."""
    paper = load_experiment(Path(__file__).parents[1] / "librilight_paper" / "soundstream.py")
    assert isinstance(paper, CodecExperiment)
    # A step of 6,400 frames uses a code 6.25 times on average.
    quantizer = dataclasses.replace(paper.model.quantizer, revival_threshold=1.0)
    return dataclasses.replace(
        paper,
        directory=f"{RUNS}/codec",
        data=DATA,
        crop_seconds=2.0,
        batch_size=64,
        model=dataclasses.replace(paper.model, quantizer=quantizer),
        train=SoundStreamTrainConfig(generator_ema_decay=0.9999),
        loop=dataclasses.replace(loop(300_000), keep_best=0, export="last"),
        mesh=MESH,
    )
