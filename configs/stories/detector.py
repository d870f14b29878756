"""A detector of what the bundle of these configs says. Not run yet.

audiolm evaluate configs/stories/detector_material.py
audiolm train configs/stories/detector.py
audiolm detect FILE --model runs/stories/detector
"""

from defaults import RUNS

from audiolm_jax.classifiers.config import ClassifierConfig, ClassifierTrainConfig
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.detector import DetectorExperiment
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

STEPS = 2_000


def experiment() -> DetectorExperiment:
    """A quarter of the paper's widths; other voices than it learns from calibrate it."""
    return DetectorExperiment(
        directory=f"{RUNS}/detector",
        batch_size=32,
        data=AudioDataConfig(
            source=f"{RUNS}/detector_material/train",
            dataset="stories_detector",
            split_by="speaker",
            heldout_percent=25,
        ),
        model=ClassifierConfig(
            channels=(16, 32, 64, 64, 128, 128), label="kind", classes=("real", "generated")
        ),
        train=ClassifierTrainConfig(level_db=6.0),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, warmup_steps=100, schedule="cosine", total_steps=STEPS
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=200, checkpoint_every=100),
    )
