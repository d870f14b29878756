"""Which layer and how many clusters, not run. What the items need: docs/guide/abx.md.

audiolm evaluate configs/librilight_paper/sweep.py
"""

from defaults import DATA, ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment


def experiment() -> SweepExperiment:
    """The layers and numbers of clusters of the paper's Fig. 3."""
    return SweepExperiment(
        directory="runs/librilight_paper/sweep",
        **ITEMS,
        abx=AbxConfig(part="choice"),  # abx.py reports the other half
        data=DATA,
        encoder="runs/librilight_paper/encoder",
        layers=("masked_6", "masked_7", "masked_8", "masked_9"),
        clusters=(256, 512, 1024, 2048),
        runs=("runs/librilight_paper/encoder",),
    )
