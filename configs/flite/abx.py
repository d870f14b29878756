"""ABX of MFCC on synthetic voices: a minute on 2 CPU cores, nothing to train.

./launch/flite.sh
audiolm evaluate configs/flite/abx.py
"""

from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """All items of the four voices."""
    return AbxExperiment(
        directory="runs/flite/abx",
        audio_dir="data/flite",
        items="data/flite/triphones.item",
        alignments="data/flite/alignments.tsv",
        features=(FeatureConfig("MFCC", "mfcc"),),
    )
