"""Stage 3 on synthetic stories.

audiolm train configs/stories/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 1.6 s, the last 10 of 12 levels."""
    return stage("fine", 1.6, "fine_lm", batch_size=4, steps=1000, layers=4)
