"""Stage 1 as in the paper: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/librilight_paper/semantic.py --topology v4:2x2x4
audiolm train configs/librilight_paper/semantic.py

203.5 M parameters; sequences of 751 tokens, 192,256 a step. AdamW, and a trial off a TPU: see
`defaults.stage`.
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 30 s."""
    return stage("semantic", crop_seconds=30.0)
