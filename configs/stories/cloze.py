"""Which ending is the story's: stage 1 on spoken cloze, of other topics and of contradictions.

./launch/stories.sh
python -m tools.stories.cloze data/stories
unzip models/stories.zip -d models
audiolm evaluate configs/stories/cloze.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.pairs.experiment import PairsExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> PairsExperiment:
    """As the minimal pairs."""
    pairs = load_experiment(Path(__file__).with_name("pairs.py"))
    assert isinstance(pairs, PairsExperiment)
    return dataclasses.replace(
        pairs, directory=f"{RUNS}/cloze", pairs="data/stories/cloze/pairs.tsv"
    )
