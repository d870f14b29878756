"""What the configs of this folder share: AudioLM on piano music, as in the paper.

Its 40,000 hours are not public; name your own folder with --data.source. The paper trains all parts
anew on music, with the sizes of speech but for the codec; stage 2 writes all levels, so there is no
stage 3.
"""

import dataclasses
from pathlib import Path

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment

SPEECH = Path(__file__).parents[1] / "librilight_paper"
RUNS = "runs/piano_paper"
DATA = AudioDataConfig(source="data/piano", dataset="piano", heldout_minutes=120.0)
LEVELS, CODES = 3, 1 << 14


def stage(name: str) -> StageExperiment:
    """That of speech on the tokens of piano."""
    speech = load_experiment(SPEECH / f"{name}.py")
    assert isinstance(speech, StageExperiment)
    tokens = dataclasses.replace(
        speech.model.stage, levels=LEVELS, coarse_levels=LEVELS, codebook_size=CODES
    )
    return dataclasses.replace(
        speech,
        directory=f"{RUNS}/{name}",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        model=dataclasses.replace(speech.model, stage=tokens),
    )
