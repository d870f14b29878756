"""ABX of codec, encoder and k-means, the paper's Table I, not run. The items: docs/guide/abx.md.

audiolm evaluate configs/librilight_paper/abx.py
"""

from defaults import ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """The layer before and after k-means, and codes of 4 and of 12 levels."""
    return AbxExperiment(
        directory="runs/librilight_paper/abx",
        **ITEMS,
        abx=AbxConfig(part="report"),
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig(
                "SoundStream, 2 kbit/s", "codec", "runs/librilight_paper/codec", levels=4
            ),
            FeatureConfig("SoundStream, 6 kbit/s", "codec", "runs/librilight_paper/codec"),
            FeatureConfig(
                "w2v-BERT masked_7",
                "encoder",
                "runs/librilight_paper/encoder",
                layer="masked_7",
                scaled_by="runs/librilight_paper/kmeans",
            ),
            FeatureConfig("k-means", "semantic", "runs/librilight_paper/kmeans"),
        ),
    )
