"""sWUGGY and sBLIMP, the paper's Table IV, not run. How to get them: docs/guide/pairs.md.

audiolm evaluate configs/librilight_paper/pairs.py
"""

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment


def experiment() -> PairsExperiment:
    """ZeroSpeech's dev part."""
    return PairsExperiment(
        directory="runs/librilight_paper/pairs",
        pairs="data/sLM21-dataset",
        semantic_lm="runs/librilight_paper/semantic",
        semantic="runs/librilight_paper/kmeans",
        tokens="runs/librilight_paper/tokens",
    )
