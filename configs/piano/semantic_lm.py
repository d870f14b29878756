"""Stage 1 on piano, not run.

audiolm train configs/piano/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 15 s."""
    return stage("semantic", 15.0, batch_size=8, steps=2500)
