"""Stage 2 on synthetic stories.

audiolm train configs/stories/coarse_lm.py
"""

import dataclasses

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 5 s, the first 2 of 12 levels."""
    first = stage("coarse", 5.0, "coarse_lm", batch_size=6, steps=2400)
    # With the codec of now no run gave a curve.
    return dataclasses.replace(first, loop=dataclasses.replace(first.loop, reference=None))
