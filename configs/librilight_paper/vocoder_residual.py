"""A SoundStream decoder of the residual levels, for Table I: 16 chips of TPU v4, not run.

audiolm train configs/librilight_paper/residual.py
audiolm train configs/librilight_paper/vocoder_residual.py
"""

import dataclasses
from pathlib import Path

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.vocoder import VocoderExperiment


def experiment() -> VocoderExperiment:
    """As that of the units."""
    units = load_experiment(Path(__file__).with_name("vocoder_units.py"))
    assert isinstance(units, VocoderExperiment)
    quantizer = dataclasses.replace(units.model.quantizer, levels=24)
    return dataclasses.replace(
        units,
        directory="runs/librilight_paper/vocoder_residual",
        tokens="runs/librilight_paper/residual",
        model=dataclasses.replace(units.model, quantizer=quantizer),
    )
