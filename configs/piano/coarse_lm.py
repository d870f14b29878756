"""Stage 2 on piano, the last one, not run.

audiolm train configs/piano/coarse_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 4 s, all 3 levels."""
    return stage("coarse", 4.0, batch_size=6, steps=3000)
