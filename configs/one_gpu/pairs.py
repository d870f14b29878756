"""sWUGGY and sBLIMP, the paper's Table IV, not run. How to get them: docs/guide/pairs.md.

audiolm evaluate configs/one_gpu/pairs.py
"""

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment


def experiment() -> PairsExperiment:
    """ZeroSpeech's dev part."""
    return PairsExperiment(
        directory="runs/one_gpu/pairs",
        pairs="data/sLM21-dataset",
        semantic_lm="runs/one_gpu/semantic_lm",
        semantic="runs/one_gpu/kmeans",
        tokens="runs/one_gpu/tokens",
    )
