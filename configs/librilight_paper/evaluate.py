"""What the parts beside it predict and say, once they are a bundle, not run.

audiolm bundle runs/librilight_paper/{codec,kmeans,semantic,coarse,fine} \
    --out runs/librilight_paper/bundle
audiolm evaluate configs/librilight_paper/evaluate.py
"""

from defaults import DATA

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment


def experiment() -> EvaluateExperiment:
    """Prompts of 3 s, continued by 7 s."""
    return EvaluateExperiment(
        directory="runs/librilight_paper/evaluate",
        title="AudioLM on Libri-Light",
        data=DATA,
        bundle="runs/librilight_paper/bundle",
        tokens="runs/librilight_paper/tokens",
        runs=tuple(
            f"runs/librilight_paper/{name}"
            for name in ("codec", "encoder", "semantic", "coarse", "fine")
        ),
        prompts=8,
        prompt_seconds=3.0,
        continuation_seconds=7.0,
        licence="Libri-Light: read by volunteers of LibriVox, public domain.",
    )
