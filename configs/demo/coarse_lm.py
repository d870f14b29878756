"""Stage 2, small: about 4 minutes on 2 CPU cores.

audiolm train configs/demo/coarse_lm.py
"""

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 4 s, 3 layers of width 128."""
    return stage(
        "coarse", 4.0, layers=3, batch_size=12, steps=240, learning_rate=4e-3, warmup_steps=20
    )
