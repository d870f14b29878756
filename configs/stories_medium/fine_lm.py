"""Stage 3, not run.

audiolm plan configs/stories_medium/fine_lm.py --topology v5e:2x4
audiolm train configs/stories_medium/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 3 s, as in the paper."""
    return stage("fine", 3.0, batch_size=32, steps=30_000)
