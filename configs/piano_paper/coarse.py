"""Stage 2 on piano: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/piano_paper/coarse.py --topology v4-32
audiolm train configs/piano_paper/coarse.py

It writes all three levels; a bundle of it needs no third stage.
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 10 s: 250 semantic and 1,500 acoustic tokens."""
    return stage("coarse")
