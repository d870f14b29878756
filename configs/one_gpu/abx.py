"""ABX of codec, encoder and k-means, the paper's Table I, not run. The items: docs/guide/abx.md.

audiolm evaluate configs/one_gpu/abx.py
"""

from defaults import ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """The layer before and after k-means, and codes of 4 and of 12 levels."""
    return AbxExperiment(
        directory="runs/one_gpu/abx",
        **ITEMS,
        abx=AbxConfig(part="report"),
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig("SoundStream, 2 kbit/s", "codec", "runs/one_gpu/codec", levels=4),
            FeatureConfig("SoundStream, 6 kbit/s", "codec", "runs/one_gpu/codec"),
            FeatureConfig(
                "w2v-BERT masked_3",
                "encoder",
                "runs/one_gpu/encoder",
                layer="masked_3",
                scaled_by="runs/one_gpu/kmeans",
            ),
            FeatureConfig("k-means", "semantic", "runs/one_gpu/kmeans"),
        ),
    )
