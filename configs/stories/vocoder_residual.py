"""A decoder of the 24 residual levels of the bundle's encoder, for Table I.

audiolm train configs/stories/residual.py
audiolm train configs/stories/vocoder_residual.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.vocoder import VocoderExperiment


def experiment() -> VocoderExperiment:
    """As that of the units."""
    units = load_experiment(Path(__file__).with_name("vocoder_units.py"))
    assert isinstance(units, VocoderExperiment)
    quantizer = dataclasses.replace(units.model.quantizer, levels=24)
    return dataclasses.replace(
        units,
        directory=f"{RUNS}/vocoder_residual",
        tokens=f"{RUNS}/residual",
        model=dataclasses.replace(units.model, quantizer=quantizer),
    )
