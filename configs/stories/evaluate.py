"""What the stages predict of stories and voices that they never heard, and continuations to hear.

unzip models/stories.zip -d models
audiolm tokenize configs/stories/tokens.py
audiolm tokenize configs/stories/tokens_heldout.py
audiolm evaluate configs/stories/evaluate.py
"""

from defaults import BUNDLE, HELDOUT, RUNS

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """Codec and clusters too are measured on them."""
    return EvaluateExperiment(
        directory=f"{RUNS}/evaluate",
        title="The stories' models on stories and voices that they have not heard",
        data=HELDOUT,
        bundle=BUNDLE,
        tokens=f"{RUNS}/tokens",
        judged_tokens=f"{RUNS}/tokens_heldout",
        prompts=6,
        continuation_seconds=7.0,
        licence="Synthetic speech by hibari-tts (Apache-2.0) and Flite (free, BSD-like).",
    )
