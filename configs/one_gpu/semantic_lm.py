"""Stage 1, not run.

audiolm plan configs/one_gpu/semantic_lm.py --topology rtx4090x1
audiolm train configs/one_gpu/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 30 s, as in the paper."""
    return stage("semantic", 30.0, batch_size=32, steps=40_000)
