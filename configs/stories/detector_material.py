"""Real and generated stories for a detector, of the bundle of these configs. Not run yet.

audiolm evaluate configs/stories/detector_material.py

Stories that the models have not heard, of voices that they know; a third of them are in test/.
"""

from defaults import BUNDLE, RUNS

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.detector.material import DetectorMaterialExperiment


def experiment() -> DetectorMaterialExperiment:
    """3 s of prompt, 4 s of continuation."""
    return DetectorMaterialExperiment(
        directory=f"{RUNS}/detector_material",
        bundle=BUNDLE,
        data=AudioDataConfig(
            source="data/stories/heldout_stories",
            dataset="stories_unheard",
            split_by="speaker",
            heldout_percent=30,
        ),
    )
