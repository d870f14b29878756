"""Which layer and how many clusters: the encoder beside it on synthetic voices, 2 CPU cores.

./launch/flite.sh
audiolm evaluate configs/asterisk/sweep.py
"""

from pathlib import Path

from defaults import FLITE

from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> SweepExperiment:
    """All layers, with 100 and 500 clusters."""
    encoder = load_experiment(Path(__file__).with_name("encoder.py"))
    return SweepExperiment(
        directory="runs/asterisk/sweep",
        **FLITE,
        abx=AbxConfig(part="choice"),  # abx.py reports the other half
        data=encoder.data,
        encoder=encoder.directory,
        layers=encoder.model.layer_names,
        clusters=(100, 500),
        runs=(encoder.directory,),
    )
