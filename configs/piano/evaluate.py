"""What the stages predict of pieces that they never heard, and continuations to hear; not run.

audiolm bundle runs/piano/{codec,kmeans,semantic_lm,coarse_lm} --out models/piano
audiolm evaluate configs/piano/evaluate.py
"""

from defaults import DATA, RUNS

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """On the held-out pieces of the corpus."""
    return EvaluateExperiment(
        directory=f"{RUNS}/evaluate",
        title="The piano models on pieces that they have not heard",
        data=DATA,
        bundle="models/piano",
        tokens=f"{RUNS}/tokens",
        prompts=6,
        continuation_seconds=7.0,
        licence="Synthetic piano: scores in the public domain; two soundfonts (MIT).",
    )
