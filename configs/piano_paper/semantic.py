"""Stage 1 on piano: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/piano_paper/semantic.py --topology v4-32
audiolm train configs/piano_paper/semantic.py

As configs/librilight_paper/semantic.py.
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 30 s."""
    return stage("semantic")
