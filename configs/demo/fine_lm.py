"""Stage 3, small: about 2 minutes on 2 CPU cores.

audiolm train configs/demo/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 1 s, 2 layers of width 128."""
    return stage("fine", 1.0, layers=2, batch_size=16, steps=200, learning_rate=3e-3)
