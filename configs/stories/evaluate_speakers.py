"""Whose voice is heard in what the bundle says, the paper's Table III. Not run yet.

audiolm evaluate configs/stories/world.py --asr.model WHISPER_FOLDER
audiolm train configs/stories/speakers.py
audiolm evaluate configs/stories/evaluate_speakers.py

Needs the extra `world-eval`; `--no-similarity` does without.
"""

from defaults import RUNS

from audiolm_jax.evaluation.speakers.experiment import SpeakersEvaluateExperiment


def experiment() -> SpeakersEvaluateExperiment:
    """Of three of 91 voices; windows of a second along the continuations."""
    return SpeakersEvaluateExperiment(
        directory=f"{RUNS}/evaluate_speakers",
        classifier=f"{RUNS}/speakers",
        world=f"{RUNS}/world",
    )
