"""The light codec of configs/stories with AudioLM's three large codebooks for piano, not run.

./launch/piano.sh
audiolm train configs/piano/codec.py

AudioLM: 3 levels of 2^14 codes at 50 Hz, 2.1 kbit/s (configs/piano_paper); here 2^12, 1.8 kbit/s.
"""

import dataclasses

from defaults import CODES, DATA, LEVELS, RUNS, SPEECH

from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecExperiment:
    """3 levels of 4,096 codes at 50 Hz."""
    speech = load_experiment(SPEECH / "codec.py")
    quantizer = dataclasses.replace(
        speech.model.quantizer, levels=LEVELS, codebook_size=CODES, revival_threshold=0.02
    )
    return dataclasses.replace(
        speech,
        directory=f"{RUNS}/codec",
        data=DATA,
        batch_size=12,
        model=dataclasses.replace(speech.model, quantizer=quantizer),
        # Three levels are few: none is dropped.
        train=dataclasses.replace(speech.train, quantizer_dropout=0.0),
        loop=dataclasses.replace(speech.loop, reference=None),
    )
