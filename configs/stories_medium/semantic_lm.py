"""Stage 1, not run.

audiolm plan configs/stories_medium/semantic_lm.py --topology v5e:2x4
audiolm train configs/stories_medium/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 30 s: most stories whole."""
    return stage("semantic", 30.0, batch_size=64, steps=20_000)
