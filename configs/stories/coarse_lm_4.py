"""Stage 2 comes to the end of a shorter schedule.

audiolm train configs/stories/coarse_lm_4.py
"""

import dataclasses

from defaults import RUNS, stage

from audiolm_jax.experiments.stage import StageExperiment


def experiment() -> StageExperiment:
    """From step 1,109 to 1,650, with the optimizer and at the place in the data of that step."""
    whole = stage("coarse", 5.0, "coarse_lm_4", batch_size=6, steps=1650)
    return dataclasses.replace(
        whole,
        begin_at_centroids=False,
        branch_from=f"{RUNS}/coarse_lm_3@1109",
        optimizer=dataclasses.replace(whole.optimizer, warmup_steps=50),
    )
