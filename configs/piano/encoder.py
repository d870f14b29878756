"""w2v-BERT of configs/asterisk on piano, not run.

audiolm train configs/piano/encoder.py
"""

import dataclasses
from pathlib import Path

from defaults import DATA, RUNS

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 6_000


def experiment() -> EncoderExperiment:
    """2 + 2 conformers of width 160; frequencies stay where they are, for they are the notes."""
    of_asterisk = load_experiment(Path(__file__).parents[1] / "asterisk" / "encoder.py")
    return dataclasses.replace(
        of_asterisk,
        directory=f"{RUNS}/encoder",
        data=DATA,
        train=dataclasses.replace(of_asterisk.train, frequency_warp=0.0),
        optimizer=dataclasses.replace(of_asterisk.optimizer, total_steps=STEPS),
        loop=dataclasses.replace(of_asterisk.loop, steps=STEPS),
    )
