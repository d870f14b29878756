"""Stage 3 on synthetic stories.

audiolm train configs/stories/fine_lm.py
"""

import dataclasses

from defaults import stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """Crops of 1.6 s, the last 10 of 12 levels."""
    first = stage("fine", 1.6, "fine_lm", batch_size=4, steps=1000, layers=4)
    # With the codec of now no run gave a curve.
    return dataclasses.replace(first, loop=dataclasses.replace(first.loop, reference=None))
