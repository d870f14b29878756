"""Reads a file that torch wrote, tensors and plain values only: nothing in it is executed."""

import pickle
import warnings
from pathlib import Path
from typing import Any

from audiolm_jax.errors import InputError


def read_torch_file(path: Path) -> Any:
    """The dictionaries, lists and numbers of a torch file, its tensors as numpy arrays.

    Floats become float32. InputError without torch, for damaged files and for pickled objects.
    """
    try:
        import torch
    except ImportError:
        how = "pip install 'audiolm_jax[import]', or import the safetensors weights"
        raise InputError(f"{path}: reading a torch file needs torch; {how}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle versions; what cannot be read is an error
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        words = f"holds pickled objects ({_reason(error)}), which are never read, or is damaged"
        raise InputError(f"{path}: {words}; take the published weights file") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        message = f"{path}: not a torch file ({_reason(error)}); download it again"
        raise InputError(message) from None

    def convert(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.detach()
            return (value.float() if value.is_floating_point() else value).numpy().copy()
        if isinstance(value, dict):
            return {key: convert(x) for key, x in value.items()}
        if isinstance(value, list | tuple):
            return [convert(x) for x in value]
        return value

    return convert(content)


def _reason(error: Exception) -> str:
    """The part of torch's message that says what it met."""
    words = " ".join(str(error).split())
    for start in ("Unsupported global: ", "Unsupported class "):
        if start in words:
            words = words[words.index(start) :]
    return words[:100].split(". ")[0].split(" was not an allowed")[0]
