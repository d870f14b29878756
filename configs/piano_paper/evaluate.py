"""What the parts beside it predict and say, once they are a bundle, not run.

audiolm bundle runs/piano_paper/{codec,kmeans,semantic,coarse} \
    --out runs/piano_paper/bundle
audiolm evaluate configs/piano_paper/evaluate.py
"""

from defaults import DATA

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """Prompts of 4 s, continued by 7 s."""
    return EvaluateExperiment(
        directory="runs/piano_paper/evaluate",
        title="AudioLM on piano music",
        data=DATA,
        bundle="runs/piano_paper/bundle",
        tokens="runs/piano_paper/tokens",
        runs=tuple(
            f"runs/piano_paper/{name}" for name in ("codec", "encoder", "semantic", "coarse")
        ),
        prompts=8,
        prompt_seconds=4.0,
        continuation_seconds=7.0,
        licence="Your own recordings.",
    )
