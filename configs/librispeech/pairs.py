"""sWUGGY and sBLIMP, the paper's Table IV, not run. How to get them: docs/guide/pairs.md.

audiolm evaluate configs/librispeech/pairs.py
"""

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment


def experiment() -> PairsExperiment:
    """ZeroSpeech's dev part."""
    return PairsExperiment(
        directory="runs/librispeech/pairs",
        pairs="data/sLM21-dataset",
        semantic_lm="runs/librispeech/semantic_lm",
        semantic="runs/librispeech/kmeans",
        tokens="runs/librispeech/tokens",
    )
