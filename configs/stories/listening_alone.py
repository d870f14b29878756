"""Which goes on better, the bundle or its stage 2 without semantic tokens? The paper's test of
piano (section IV-I), of 15 pairs of 20 s, on stories.

audiolm train configs/stories/bundle_alone.py
audiolm evaluate configs/stories/listening_alone.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.listening.experiment import ListeningExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> ListeningExperiment:
    """4 s of prompt, as the paper's without semantic tokens."""
    one = load_experiment(Path(__file__).with_name("listening.py"))
    assert isinstance(one, ListeningExperiment)
    return dataclasses.replace(
        one,
        directory=f"{RUNS}/listening_alone",
        title="Which goes on better?",
        other=f"{RUNS}/bundle_alone",
        prompts=15,
        prompt_seconds=4.0,
        continuation_seconds=10.0,
    )
