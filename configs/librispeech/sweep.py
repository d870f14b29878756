"""Which layer and how many clusters, not run. What the items need: docs/guide/abx.md.

audiolm evaluate configs/librispeech/sweep.py
"""

from defaults import DATA, ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment


def experiment() -> SweepExperiment:
    """The masked conformers, with three numbers of clusters each."""
    return SweepExperiment(
        directory="runs/librispeech/sweep",
        **ITEMS,
        abx=AbxConfig(part="choice"),  # abx.py reports the other half
        data=DATA,
        encoder="runs/librispeech/encoder",
        layers=("masked_2", "masked_3", "masked_4", "masked_5", "masked_6"),
        clusters=(200, 500, 1000),
        runs=("runs/librispeech/encoder",),
    )
