"""Stage 3 on synthetic stories; not run yet.

audiolm train configs/stories/fine_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 1.6 s, the last 8 of 12 levels."""
    return stage("fine", 1.6, batch_size=8, steps=3000, tied_embeddings=True)
