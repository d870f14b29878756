"""Stage 1, not run.

audiolm plan configs/librispeech/semantic_lm.py --topology h100x8 v5e-16
audiolm train configs/librispeech/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 30 s, as in the paper."""
    return stage("semantic", 30.0, batch_size=128, steps=40_000)
