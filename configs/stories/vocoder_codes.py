"""A decoder of the codec's first four levels, 2 kbit/s, trained as those of the other tokens.

unzip models/stories.zip -d models
audiolm train configs/stories/vocoder_codes.py

`--model.quantizer.levels 12 --directory OUT` is 6 kbit/s.
"""

import dataclasses
from pathlib import Path

from defaults import CODEC, RUNS

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.vocoder import VocoderExperiment


def experiment() -> VocoderExperiment:
    """At 50 Hz, as the codec."""
    units = load_experiment(Path(__file__).with_name("vocoder_units.py"))
    codec = load_experiment(Path(__file__).with_name("codec.py"))
    assert isinstance(units, VocoderExperiment)
    return dataclasses.replace(
        units,
        directory=f"{RUNS}/vocoder_codes",
        tokens=CODEC,
        model=dataclasses.replace(
            codec.model, quantizer=dataclasses.replace(codec.model.quantizer, levels=4)
        ),
    )
