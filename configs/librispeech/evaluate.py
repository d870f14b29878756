"""What the parts beside it predict and say, once they are a bundle, not run.

audiolm bundle runs/librispeech/{codec,kmeans,semantic_lm,coarse_lm,fine_lm} \
    --out runs/librispeech/bundle
audiolm evaluate configs/librispeech/evaluate.py
"""

from defaults import DATA

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """Prompts of 3 s, continued by 7 s."""
    return EvaluateExperiment(
        directory="runs/librispeech/evaluate",
        title="AudioLM on LibriSpeech",
        data=DATA,
        bundle="runs/librispeech/bundle",
        tokens="runs/librispeech/tokens",
        runs=tuple(
            f"runs/librispeech/{name}"
            for name in ("codec", "encoder", "semantic_lm", "coarse_lm", "fine_lm")
        ),
        prompts=8,
        prompt_seconds=3.0,
        continuation_seconds=7.0,
        licence="LibriSpeech: read by volunteers of LibriVox, CC BY 4.0.",
    )
