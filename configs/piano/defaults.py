"""What the configs of this folder share: the synthetic piano of ./launch/piano.sh."""

import dataclasses
from pathlib import Path

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment

# Pieces of the folder heldout are held out, by the column split of metadata.tsv. MAESTRO's folder
# takes the same place: --data.source /data/maestro-v3.0.0
DATA = AudioDataConfig(source="data/piano", dataset="piano", split_by="official")
RUNS = "runs/piano"
SPEECH = Path(__file__).parents[1] / "stories"
CLUSTERS = 512
# The paper has 2^14 codes; a step of 2 CPU cores has 768 frames, too few to keep so many alive.
LEVELS, CODES = 3, 1 << 12


def stage(name: str, crop_seconds: float, *, batch_size: int, steps: int) -> StageExperiment:
    """That of the stories, on the tokens of piano."""
    speech = load_experiment(SPEECH / f"{name}_lm.py")
    assert isinstance(speech, StageExperiment)
    tokens = dataclasses.replace(
        speech.model.stage,
        semantic_clusters=CLUSTERS,
        codebook_size=CODES,
        levels=LEVELS,
        coarse_levels=LEVELS,  # all: there is no fine stage
        crop_seconds=crop_seconds,
    )
    decoder = dataclasses.replace(speech.model.decoder, dropout=0.1)
    return dataclasses.replace(
        speech,
        directory=f"{RUNS}/{name}_lm",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        batch_size=batch_size,
        model=dataclasses.replace(speech.model, stage=tokens, decoder=decoder),
        optimizer=dataclasses.replace(speech.optimizer, total_steps=steps),
        loop=dataclasses.replace(speech.loop, steps=steps, reference=None),
    )
