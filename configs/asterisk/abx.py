"""ABX of encoder and k-means beside it, of a codec and of MFCC, on synthetic voices.

./launch/flite.sh
audiolm train configs/asterisk/codec_light.py
audiolm evaluate configs/asterisk/abx.py
"""

from pathlib import Path

from defaults import FLITE

from audiolm_jax.evaluation.abx.config import AbxConfig, FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment
from audiolm_jax.experiments.load import load_experiment

CODEC = "runs/asterisk/codec_light"


def experiment() -> AbxExperiment:
    """What AudioLM's Table I compares, the layer before k-means, and MFCC."""
    kmeans = load_experiment(Path(__file__).with_name("kmeans.py"))
    return AbxExperiment(
        directory="runs/asterisk/abx",
        **FLITE,
        abx=AbxConfig(part="report"),
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig("codec, 2 kbit/s", "codec", CODEC, levels=4),
            FeatureConfig("codec, 6 kbit/s", "codec", CODEC),
            FeatureConfig(
                f"w2v-BERT {kmeans.kmeans.layer}",
                "encoder",
                kmeans.encoder,
                layer=kmeans.kmeans.layer,
                scaled_by=kmeans.directory,
            ),
            FeatureConfig("k-means", "semantic", kmeans.directory),
        ),
    )
