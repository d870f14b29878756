"""Stage 3 as in the paper: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/librilight_paper/fine.py --topology v4:2x2x4
audiolm train configs/librilight_paper/fine.py

226.5 M parameters; sequences of 1,801 tokens, 461,056 a step. AdamW, and a trial off a TPU: see
`defaults.stage`.
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 3 s."""
    return stage("fine", crop_seconds=3.0)
