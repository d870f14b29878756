"""What the stages predict of stories and voices that they never heard, and continuations to hear.

unzip models/stories.zip -d models
audiolm tokenize configs/stories/tokens_heldout.py
audiolm evaluate configs/stories/evaluate.py
"""

from pathlib import Path

from defaults import BUNDLE, RUNS

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> EvaluateExperiment:
    """Codec and clusters too are measured on them."""
    heldout = load_experiment(Path(__file__).with_name("tokens_heldout.py"))
    return EvaluateExperiment(
        directory=f"{RUNS}/evaluate",
        title="The stories' models on stories and voices that they have not heard",
        data=heldout.data,
        bundle=BUNDLE,
        tokens=f"{RUNS}/tokens",
        judged_tokens=heldout.directory,
        prompts=6,
        continuation_seconds=7.0,
        licence="Synthetic speech by hibari-tts (Apache-2.0) and Flite (free, BSD-like).",
    )
