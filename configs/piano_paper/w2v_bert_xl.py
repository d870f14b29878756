"""w2v-BERT XL on piano music: 64 chips of TPU v4 (or v5p), not run.

audiolm plan configs/piano_paper/w2v_bert_xl.py --topology v4-128
audiolm train configs/piano_paper/w2v_bert_xl.py

As configs/librilight_paper/w2v_bert_xl.py, which says what of it is the paper's.
"""

import dataclasses

from defaults import DATA, RUNS, SPEECH

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> EncoderExperiment:
    """Crops of 16 s, 24 conformers of width 1024, batch 2048."""
    speech = load_experiment(SPEECH / "w2v_bert_xl.py")
    assert isinstance(speech, EncoderExperiment)
    return dataclasses.replace(speech, directory=f"{RUNS}/encoder", data=DATA)
