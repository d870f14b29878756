"""What semantic tokens are for: the bundle beside its stage 2 trained without them, same prompts.

audiolm evaluate configs/stories/ablation.py

Trains that stage (3 hours on two cores), makes a bundle of it, continues the prompts that world.py
judges, and lists both. What world.py needs: docs/guide/world.md. Not run.
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row

_TASKS = "tokens world coarse_alone bundle_alone world_alone"
_SYSTEMS = {"with semantic tokens": "world", "without": "world_alone"}
_MEASURES = {
    "words of the world, %": "known",
    "legal pairs, %": "legal",
    "whole sentences, %": "whole",
    "words a second": "words_a_second",
    "own speaker nearest, %": "own_first",
}


def experiment() -> PaperExperiment:
    """The paper has samples to hear of this and no figures."""
    return PaperExperiment(
        directory=f"{RUNS}/ablation",
        title="With and without semantic tokens",
        tasks=tuple((name, str(Path(__file__).with_name(f"{name}.py"))) for name in _TASKS.split()),
        rows=tuple(
            Row(what, system, "", task, f"endings / continued, T = 0.6 / means / {measure}")
            for what, measure in _MEASURES.items()
            for system, task in _SYSTEMS.items()
        ),
        notes=(
            "Continuations of 7 s of the same prompts of 3 s (the paper's without semantic tokens "
            "have 4 s), by the same stages but the second.",
        ),
        licence="Synthetic speech by hibari-tts, SVOX Pico (Apache-2.0) and Flite (BSD-like).",
    )
