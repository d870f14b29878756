"""Stage 1 on spoken StoryCloze, not run; the paper has no such figure. FOLDER holds sSC/ and tSC/.

audiolm evaluate configs/librilight_paper/cloze.py --pairs FOLDER
"""

import dataclasses
from pathlib import Path

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> PairsExperiment:
    """As sWUGGY and sBLIMP."""
    pairs = load_experiment(Path(__file__).with_name("pairs.py"))
    assert isinstance(pairs, PairsExperiment)
    return dataclasses.replace(
        pairs, directory="runs/librilight_paper/cloze", pairs="data/storycloze"
    )
