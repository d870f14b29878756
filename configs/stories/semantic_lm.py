"""Stage 1 on synthetic stories.

audiolm train configs/stories/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 15 s: several sentences of a story."""
    return stage("semantic", 15.0, batch_size=8, steps=2200)
