"""Spot the word, and agreement: stage 1 of synthetic stories on minimal pairs.

./launch/stories.sh
unzip models/stories.zip -d models
audiolm evaluate configs/stories/pairs.py
"""

from defaults import BUNDLE, RUNS

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment


def experiment() -> PairsExperiment:
    """954 pairs; half of the voices are those of training."""
    return PairsExperiment(
        directory=f"{RUNS}/pairs",
        pairs="data/stories/pairs/pairs.tsv",
        semantic_lm=BUNDLE,
        tokens=f"{RUNS}/tokens",
    )
