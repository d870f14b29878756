"""ABX of codec, encoder and k-means, the paper's Table I, not run. The items: docs/guide/abx.md.

audiolm evaluate configs/librispeech/abx.py
"""

from defaults import ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """The layer before and after k-means, and codes of 4 and of 12 levels."""
    return AbxExperiment(
        directory="runs/librispeech/abx",
        **ITEMS,
        abx=AbxConfig(part="report"),
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig("SoundStream, 2 kbit/s", "codec", "runs/librispeech/codec", levels=4),
            FeatureConfig("SoundStream, 6 kbit/s", "codec", "runs/librispeech/codec"),
            FeatureConfig(
                "w2v-BERT masked_4",
                "encoder",
                "runs/librispeech/encoder",
                layer="masked_4",
                scaled_by="runs/librispeech/kmeans",
            ),
            FeatureConfig("k-means", "semantic", "runs/librispeech/kmeans"),
        ),
    )
