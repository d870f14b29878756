"""What the parts beside it predict and say, once they are a bundle, not run.

audiolm bundle runs/one_gpu/{codec,kmeans,semantic_lm,coarse_lm,fine_lm} \
    --out runs/one_gpu/bundle
audiolm evaluate configs/one_gpu/evaluate.py
"""

from defaults import DATA

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """Prompts of 3 s, continued by 7 s."""
    return EvaluateExperiment(
        directory="runs/one_gpu/evaluate",
        title="AudioLM on one card",
        data=DATA,
        bundle="runs/one_gpu/bundle",
        tokens="runs/one_gpu/tokens",
        runs=tuple(
            f"runs/one_gpu/{name}"
            for name in ("codec", "encoder", "semantic_lm", "coarse_lm", "fine_lm")
        ),
        prompts=8,
        prompt_seconds=3.0,
        continuation_seconds=7.0,
        licence="Your own recordings.",
    )
