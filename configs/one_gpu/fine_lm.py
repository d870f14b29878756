"""Stage 3, not run.

audiolm plan configs/one_gpu/fine_lm.py --topology rtx4090x1
audiolm train configs/one_gpu/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 3 s, as in the paper."""
    return stage("fine", 3.0, batch_size=16, steps=60_000)
