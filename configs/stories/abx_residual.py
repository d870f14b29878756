"""ABX of the residual levels, a row of the paper's Table I.

audiolm train configs/stories/vocoder_residual.py
audiolm evaluate configs/stories/abx_residual.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> AbxExperiment:
    """On the items of abx.py."""
    others = load_experiment(Path(__file__).with_name("abx.py"))
    assert isinstance(others, AbxExperiment)
    return dataclasses.replace(
        others,
        directory=f"{RUNS}/abx_residual",
        features=(FeatureConfig("residual", "codec", f"{RUNS}/vocoder_residual"),),
    )
