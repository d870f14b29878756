"""Stage 1 on synthetic stories: its first 22 minutes, on short crops.

audiolm train configs/stories/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 10 s."""
    return stage(
        "semantic", 10.0, "semantic_lm", batch_size=8, steps=1300, softmax="all", dropout=0.1
    )
