"""Which layer and how many clusters: the demo's encoder on synthetic voices, 2 CPU cores.

./launch/flite.sh
audiolm evaluate configs/demo/sweep.py
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment


def experiment() -> SweepExperiment:
    """All four layers with three numbers of clusters each."""
    return SweepExperiment(
        directory="runs/demo/sweep",
        data=AudioDataConfig(
            audio_dir="data/asterisk",
            dataset="asterisk_en",
            exclude=("*/beep*.*", "*/tt-monkeys.*"),  # no speech
        ),
        encoder="runs/demo/encoder",
        layers=("contrastive_1", "contrastive_2", "masked_1", "masked_2"),
        clusters=(32, 64, 128),
        audio_dir="data/flite",
        items="data/flite/triphones.item",
        alignments="data/flite/alignments.tsv",
    )
