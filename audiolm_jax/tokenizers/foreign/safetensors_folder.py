"""Reads weights as the transformers library saves them: model.safetensors and config.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from audiolm_jax.errors import InputError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def read_safetensors_folder(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config and the arrays by name, from the folder or the safetensors file in it."""
    weights = path / WEIGHTS if path.is_dir() else path
    config = weights.parent / CONFIG
    for file in (weights, config):
        if not file.is_file():
            raise InputError(f"{file}: not found; expected {WEIGHTS} and {CONFIG} in one folder")
    try:
        return json.loads(config.read_text()), load_file(weights)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: damaged ({error}); download it again") from error
    except SafetensorError as error:
        raise InputError(f"{weights}: damaged ({error}); download it again") from error
