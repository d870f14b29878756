"""Stage 2 on synthetic stories: first on short crops, on which the sounds of the units are learned.

audiolm train configs/stories/coarse_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 2 s, the first 4 of 12 levels."""
    return stage("coarse", 2.0, "coarse_lm", batch_size=8, steps=1000, softmax="all")
