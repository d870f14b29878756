"""The paper's subjective test on the bundle of the stories: 50 recordings and 50 continuations.

audiolm evaluate configs/stories/listening.py
audiolm evaluate configs/stories/listening_score.py --answers ANSWERS.json ...

Hand out test.html alone: key.json and the folders beside it tell the answers.
"""

from defaults import BUNDLE, HELDOUT, RUNS

from audiolm_jax.evaluation.listening.experiment import ListeningExperiment


def experiment() -> ListeningExperiment:
    """3 s of prompt, 7 s to judge, of voices and stories never heard."""
    return ListeningExperiment(
        directory=f"{RUNS}/listening",
        title="Recording or model?",
        data=HELDOUT,
        bundle=BUNDLE,
    )
