"""Stage 2 comes to the end of a shorter schedule: it made the bundle.

audiolm train configs/stories/coarse_lm_6.py
"""

import dataclasses

from coarse_lm_5 import gentle, hiding
from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """From step 700 to 1,500, with the optimizer and at the place in the data of that step."""
    whole = stage("coarse", 5.0, "coarse_lm_6", batch_size=6, steps=1500)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        branch_from=f"{RUNS}/coarse_lm_5@700",
        model=hiding(whole.model),
        optimizer=gentle(whole.optimizer),
    )
