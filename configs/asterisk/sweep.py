"""Which layer and how many clusters: the encoder beside it on synthetic voices, 2 CPU cores.

./launch/flite.sh
audiolm evaluate configs/asterisk/sweep.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.eval.sweep import SweepExperiment


def experiment() -> SweepExperiment:
    """All six layers, with 100 and 500 clusters."""
    return SweepExperiment(
        directory="runs/asterisk/sweep",
        data=AudioDataConfig(
            audio_dir="data/asterisk_voices",
            dataset="asterisk_voices",
            exclude=("*/beep*.*", "*-2tone.*", "*/silence/*", "*/tt-monkeys.*"),  # no speech
        ),
        encoder="runs/asterisk/encoder",
        layers=(
            "contrastive_1",
            "contrastive_2",
            "contrastive_3",
            "masked_1",
            "masked_2",
            "masked_3",
        ),
        clusters=(100, 500),
        audio_dir="data/flite",
        items="data/flite/triphones.item",
        alignments="data/flite/alignments.tsv",
    )
