"""Stage 2 as in the paper: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/librilight_paper/coarse.py --topology v4:2x2x4
audiolm train configs/librilight_paper/coarse.py

211.8 M parameters; sequences of 2,252 tokens, 576,512 a step. AdamW, and a trial off a TPU: see
`defaults.stage`.
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 10 s."""
    return stage("coarse", crop_seconds=10.0)
