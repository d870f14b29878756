"""A wider encoder begins anew and learns to guess the units of the second: HuBERT's next iteration.

audiolm train configs/stories/encoder_3.py
"""

import dataclasses
from pathlib import Path

from defaults import CURVES, RUNS

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 10_000
WIDTH = 192


def experiment() -> EncoderExperiment:
    """Six masked conformers: 5.2M parameters, of which 8 bits each fit into the bundle."""
    second = load_experiment(Path(__file__).with_name("encoder_2.py"))
    teacher = load_experiment(Path(__file__).with_name("kmeans_2.py"))
    conformer = dataclasses.replace(second.model.conformer, width=WIDTH, ff_width=4 * WIDTH)
    return dataclasses.replace(
        second,
        directory=f"{RUNS}/encoder_3",
        teacher=teacher.directory,
        warm_start=None,
        model=dataclasses.replace(
            second.model,
            subsample_channels=16,
            masked_layers=6,
            codebook_size=teacher.kmeans.clusters,
            conformer=conformer,
        ),
        optimizer=dataclasses.replace(
            second.optimizer, learning_rate=1.5e-3, warmup_steps=300, total_steps=STEPS
        ),
        loop=dataclasses.replace(second.loop, steps=STEPS, reference=f"{CURVES}/encoder_3.jsonl"),
    )
