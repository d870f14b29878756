"""ABX of the demo's codec and semantic tokens on synthetic voices, beside MFCC.

./launch/flite.sh
audiolm evaluate configs/demo/abx.py
"""

from defaults import FLITE

from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """The layer that the demo's k-means divides, before and after it."""
    return AbxExperiment(
        directory="runs/demo/abx",
        **FLITE,
        abx=AbxConfig(part="report"),
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig("SoundStream", "codec", "runs/demo/codec"),
            FeatureConfig(
                "w2v-BERT masked_1",
                "encoder",
                "runs/demo/encoder",
                layer="masked_1",
                scaled_by="runs/demo/kmeans",
            ),
            FeatureConfig("k-means", "semantic", "runs/demo/kmeans"),
        ),
    )
