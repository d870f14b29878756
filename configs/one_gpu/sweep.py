"""Which layer and how many clusters, not run. What the items need: docs/guide/abx.md.

audiolm evaluate configs/one_gpu/sweep.py
"""

from defaults import DATA, ITEMS

from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment


def experiment() -> SweepExperiment:
    """The masked conformers, with two numbers of clusters each."""
    return SweepExperiment(
        directory="runs/one_gpu/sweep",
        **ITEMS,
        abx=AbxConfig(part="choice"),  # abx.py reports the other half
        data=DATA,
        encoder="runs/one_gpu/encoder",
        layers=("masked_1", "masked_2", "masked_3", "masked_4"),
        clusters=(200, 500),
        runs=("runs/one_gpu/encoder",),
    )
