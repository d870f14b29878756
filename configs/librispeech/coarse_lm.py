"""Stage 2, not run.

audiolm plan configs/librispeech/coarse_lm.py --topology h100x8 v5e-16
audiolm train configs/librispeech/coarse_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 10 s, as in the paper."""
    return stage("coarse", 10.0, batch_size=64, steps=100_000)
