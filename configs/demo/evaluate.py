"""Continue held-out prompts, measure everything, write the page: about 2 minutes on 2 CPU cores.

audiolm evaluate configs/demo/evaluate.py
"""

from defaults import DATA

from audiolm_jax.evaluation.bundle.experiment import EvaluateExperiment
from audiolm_jax.generation.config import GenerationConfig


def experiment() -> EvaluateExperiment:
    """Prompts of 3 s, continued by 4 s."""
    return EvaluateExperiment(
        directory="runs/demo",
        title="AudioLM, trained on this machine",
        data=DATA,
        bundle="runs/demo/bundle",
        tokens="runs/demo/tokens",
        runs=tuple(
            f"runs/demo/{name}"
            for name in ("codec", "encoder", "semantic_lm", "coarse_lm", "fine_lm")
        ),
        prompts=4,
        seeds=(0, 1),
        generation=GenerationConfig(context_seconds=3.0),
        licence=(
            "Without --audio-dir: English Asterisk sounds, spoken by Allison Smith, CC BY-SA 3.0. "
            "With it: your own recordings."
        ),
    )
