"""The paper's speaker classifier on the 64 voices of the stories, with a quarter of its widths.
Not run yet.

audiolm train configs/stories/speakers.py
"""

from defaults import DATA, RUNS

from audiolm_jax.classifiers.config import ClassifierConfig
from audiolm_jax.experiments.classifier import ClassifierExperiment
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

STEPS = 2_000
VOICES = (
    *("flite_awb", "flite_slt"),
    *(f"hibari_{number:02d}" for number in (*range(1, 10), 11, *range(13, 63))),
    *("pico_gb", "pico_us"),
)


def experiment() -> ClassifierExperiment:
    """Held-out stories of known voices."""
    return ClassifierExperiment(
        directory=f"{RUNS}/speakers",
        data=DATA,
        batch_size=32,
        model=ClassifierConfig(channels=(16, 32, 64, 64, 128, 128), classes=VOICES),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=100, schedule="cosine", total_steps=STEPS
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=200, checkpoint_every=100),
    )
