"""Stage 2, not run.

audiolm plan configs/stories_medium/coarse_lm.py --topology v5e:2x4
audiolm train configs/stories_medium/coarse_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 10 s, as in the paper."""
    return stage("coarse", 10.0, batch_size=64, steps=30_000)
