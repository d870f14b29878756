"""Which layer and how many clusters: the demo's encoder on synthetic voices, 2 CPU cores.

./launch/flite.sh
audiolm evaluate configs/demo/sweep.py
"""

from defaults import DATA, FLITE

from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment


def experiment() -> SweepExperiment:
    """All four layers with three numbers of clusters each."""
    return SweepExperiment(
        directory="runs/demo/sweep",
        **FLITE,
        abx=AbxConfig(part="choice"),  # abx.py reports the other half
        data=DATA,
        encoder="runs/demo/encoder",
        layers=("contrastive_1", "contrastive_2", "masked_1", "masked_2"),
        clusters=(32, 64, 128),
    )
