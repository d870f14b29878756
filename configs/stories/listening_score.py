"""What raters of the listening test answered.

audiolm evaluate configs/stories/listening.py
audiolm evaluate configs/stories/listening_score.py --answers ANSWERS.json ...
"""

from defaults import RUNS

from audiolm_jax.evaluation.listening.score import ListeningScoreExperiment


def experiment() -> ListeningScoreExperiment:
    """A file of each rater; one of its own beside the test unless others are named."""
    return ListeningScoreExperiment(
        directory=f"{RUNS}/listening_score",
        test=f"{RUNS}/listening",
        answers=(f"{RUNS}/listening/answers.json",),
    )
