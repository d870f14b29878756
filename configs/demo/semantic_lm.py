"""Stage 1, small: about 2 minutes on 2 CPU cores.

audiolm train configs/demo/semantic_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 6 s, 3 layers of width 128."""
    return stage(
        "semantic", 6.0, layers=3, batch_size=32, steps=200, learning_rate=2e-3, dropout=0.3
    )
