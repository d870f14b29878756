"""ABX of the bundle's units and codes, the paper's Table I.

./launch/flite.sh
unzip models/stories.zip -d models
audiolm evaluate configs/stories/abx.py

170 sentences that are no stories, in four voices of flite, of which the parts heard two.
"""

from defaults import BUNDLE, RUNS

from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.experiment import AbxExperiment


def experiment() -> AbxExperiment:
    """Units and codes as their vectors."""
    return AbxExperiment(
        directory=f"{RUNS}/abx",
        audio_dir="data/flite",
        items="data/flite/triphones.item",
        alignments="data/flite/alignments.tsv",
        features=(
            FeatureConfig("codec, 2 kbit/s", "codec", f"{BUNDLE}/codec", levels=4),
            FeatureConfig("codec, 6 kbit/s", "codec", f"{BUNDLE}/codec"),
            FeatureConfig("units", "semantic", f"{BUNDLE}/semantic"),
        ),
    )
