"""The paper's speaker classifier on all 91 voices of the stories, with a quarter of its widths.
Not run yet.

audiolm train configs/stories/speakers.py

As in the paper it knows the voices that are judged, of other stories than those: what
evaluate_speakers.py hears, heldout_both, is left out here.
"""

import dataclasses

from defaults import DATA, RUNS

from audiolm_jax.classifiers.config import ClassifierConfig
from audiolm_jax.experiments.classifier import ClassifierExperiment
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

STEPS = 2_000
WARPED = {"flite_awb": 8, "flite_slt": 8, "pico_gb": 4, "pico_us": 4}
VOICES = (
    *(*WARPED, "flite_rms"),
    *(f"{voice}_{number}" for voice, count in WARPED.items() for number in range(1, count + 1)),
    *(f"hibari_{number:02d}" for number in range(1, 63)),
)


def experiment() -> ClassifierExperiment:
    """A tenth of the stories is held out, of all voices."""
    return ClassifierExperiment(
        directory=f"{RUNS}/speakers",
        data=dataclasses.replace(
            DATA,
            source="data/stories",  # where metadata.tsv is
            dataset="stories_voices",
            exclude=("heldout_both/*", "heldout_stories/*", "*_slow/*", "pairs/*"),
            heldout_percent=10,
        ),
        batch_size=32,
        model=ClassifierConfig(channels=(16, 32, 64, 64, 128, 128), classes=VOICES),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=100, schedule="cosine", total_steps=STEPS
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=200, checkpoint_every=100),
    )
