"""What the parts beside it predict and say, once they are a bundle, not run.

audiolm bundle runs/stories_medium/{codec,kmeans,semantic_lm,coarse_lm,fine_lm} \
    --out runs/stories_medium/bundle
audiolm evaluate configs/stories_medium/evaluate.py
"""

import dataclasses

from defaults import RUNS, SMALL

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> EvaluateExperiment:
    """As configs/stories judges its own, on the held-out clips of the training's folder."""
    small = load_experiment(SMALL / "evaluate.py")
    tokens = load_experiment(SMALL / "tokens.py")
    assert isinstance(small, EvaluateExperiment)
    assert isinstance(tokens, TokenizeExperiment)
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/evaluate",
        data=tokens.data,
        bundle=f"{RUNS}/bundle",
        tokens=f"{RUNS}/tokens",
        judged_tokens=None,
    )
