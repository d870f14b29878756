"""The folder of a training run: where the model it trained lies."""

from pathlib import Path

from audiolm_jax.artifacts.model_folder import MODEL_JSON, read_model_json
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError

BUNDLE_JSON = "bundle.json"  # which a folder of several models has instead
PARTS = ("codec", "semantic", "semantic_lm", "coarse_lm", "fine_lm")  # of a bundle
MODEL = "model"  # what the trained model is exported to, inside the run folder


def model_folder(path: str | Path) -> Path:
    """The model folder of a run folder, or the folder itself; InputError if there is none yet."""
    path = at(path)
    for folder in (path, path / MODEL):
        if (folder / MODEL_JSON).is_file():
            return folder
    if (path / BUNDLE_JSON).is_file():
        raise InputError(f"{path}: a bundle of several models; name one of its folders")
    if path.is_file():
        what = "an archive; unpack it" if path.suffix == ".zip" else "a file"
        raise InputError(f"{path}: {what}, expected a run directory or model folder")
    if not path.exists():
        raise InputError(f"{path}: no trained model here (no such folder); train it first")
    raise InputError(f"{path}: no trained model here (no {MODEL}/{MODEL_JSON}); finish training")


def fingerprint_of(path: str | Path) -> str:
    """Fingerprint of a trained model, read without its weights."""
    return read_model_json(model_folder(path))["fingerprint"]
