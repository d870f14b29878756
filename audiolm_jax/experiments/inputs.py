"""What a run reads: recordings, and the trained models it builds on."""

import json
import sys
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.model_folder import MODEL_JSON
from audiolm_jax.data.sources import AudioDataConfig, ClipIndex, list_clips
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.experiments.experiment import KmeansExperiment, StageExperiment, TokenizeExperiment
from audiolm_jax.training.distributed import is_first_host

MODEL = "model"  # the folder of a run directory that its trained model is exported to


def model_folder(path: str | Path) -> Path:
    """The model folder of a run directory, or the folder itself if it is one.

    Raises:
      InputError: the run is not finished, or the folder is something else.
    """
    path = Path(path)
    for folder in (path, path / MODEL):
        if (folder / MODEL_JSON).is_file():
            return folder
    raise InputError(
        f"{path}: no trained model here (no {MODEL}/{MODEL_JSON}); finish its training first"
    )


def fingerprint_of(path: str | Path) -> str:
    """Fingerprint of a trained model, read without its weights."""
    return json.loads((model_folder(path) / MODEL_JSON).read_text())["fingerprint"]


def scan(data: AudioDataConfig) -> ClipIndex:
    """Lists the clips of a folder and names the files that cannot be used."""
    index = list_clips(data)
    for bad in index.bad if is_first_host() else ():
        print(f"skipped {bad.path}: {bad.reason}", file=sys.stderr)
    minutes = index.seconds("train") / 60
    print(
        f"{data.audio_dir}: {len(index.clips)} clips, {minutes:.1f} min to train on, "
        f"{index.seconds('heldout') / 60:.1f} min held out, {len(index.bad)} files skipped"
    )
    return index


def upstream_of(experiment: Any) -> dict[str, str]:
    """Fingerprint by name of every trained model that an experiment builds on.

    Raises:
      InputError: one of them is not finished.
    """
    match experiment:
        case KmeansExperiment() | SweepExperiment():
            return {"encoder": fingerprint_of(experiment.encoder)}
        case StageExperiment() | TokenizeExperiment():
            return {
                "codec": fingerprint_of(experiment.codec),
                "semantic": fingerprint_of(experiment.semantic),
            }
        case _:
            return {}
