"""The detector of these configs on voices and stories that it does not know. Not run yet.

audiolm evaluate configs/stories/evaluate_detector.py
"""

from defaults import RUNS

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.detector.experiment import DetectorEvaluateExperiment


def experiment() -> DetectorEvaluateExperiment:
    """Accuracy, reliability, robustness."""
    return DetectorEvaluateExperiment(
        directory=f"{RUNS}/evaluate_detector",
        detector=f"{RUNS}/detector",
        data=AudioDataConfig(
            source=f"{RUNS}/detector_material/test",
            dataset="stories_detector_test",
            heldout_percent=0,
        ),
    )
