"""Stage 3, not run.

audiolm plan configs/librispeech/fine_lm.py --topology h100x8 v5e-16
audiolm train configs/librispeech/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 3 s, as in the paper."""
    return stage("fine", 3.0, batch_size=64, steps=100_000)
