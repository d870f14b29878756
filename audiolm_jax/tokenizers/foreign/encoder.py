"""What the readers of public encoders share: the folder around the weights, and what it says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, compute_fingerprint
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.tokenizers.foreign.arrays import sha256_of
from audiolm_jax.tokenizers.foreign.fields import PublishedFields

CARD = "README.md"
PREPROCESSOR = "preprocessor_config.json"
# Of training and of fine-tuned heads: nothing that hidden states depend on.
UNUSED = ("masked_spec_embed", "lm_head.")


def inner_arrays(found: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The encoder's arrays by their own names, without those that are not needed.

    Args:
      found: as in the file; a fine-tuned model has the encoder under a prefix.
      prefix: that one.
    """
    names = {name: name.removeprefix(prefix) for name in found}
    return {names[x]: array for x, array in found.items() if not names[x].startswith(UNUSED)}


def check_preprocessor(folder: Path, **expected: tuple[Any, ...]) -> PublishedFields | None:
    """What the publisher's preprocessor does to audio, if its file is beside the weights.

    Args:
      folder: of the weights.
      **expected: values that its fields may have.

    Raises:
      InputError: the file is damaged, or does what is not computed here.
    """
    path = folder / PREPROCESSOR
    if not path.is_file():
        return None
    try:
        fields = PublishedFields(json.loads(path.read_text()), str(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); download it again") from error
    for name, values in expected.items():
        fields.expect(name, *values)
    return fields


def licence_of(folder: Path) -> str | None:
    """The licence that the header of the model card beside the weights names; None without."""
    path = folder / CARD
    if not path.is_file():
        return None
    header = path.read_text(errors="replace").split("---")
    if len(header) < 3 or header[0].strip():
        return None
    for line in header[1].splitlines():
        name, _, value = line.partition(":")
        if name == "license" and value.strip():
            return value.strip().strip("'\"")
    return None


def token_frames(frame_hop_samples: int, sample_rate_hz: int, token_rate_hz: int) -> int:
    """Frames that are pooled into one token.

    Raises:
      InputError: not a whole number.
    """
    if token_rate_hz < 1 or sample_rate_hz % (frame_hop_samples * token_rate_hz):
        raise InputError(
            f"token_rate_hz = {token_rate_hz}: expected {sample_rate_hz / frame_hop_samples:.6g}, "
            "the encoder's frames a second, or a whole fraction of it"
        )
    return sample_rate_hz // (frame_hop_samples * token_rate_hz)


def parameter_shapes(build: Callable[[], nnx.Module]) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's parameters by dotted name; nothing is computed."""
    return flatten_shapes(nnx.state(nnx.eval_shape(build)))


def encoder_folder(
    kind: str,
    model: str,
    config: Any,
    arrays: dict[str, np.ndarray],
    weights: Path,
    licence: str,
) -> ModelFolder:
    """What a model folder of imported weights holds."""
    fields = config_to_dict(config)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    provenance = {
        "model": model,
        "source": weights.resolve().name,
        "source_sha256": sha256_of(weights),
        "licence": licence,
    }
    return ModelFolder(kind, fields, arrays, compute_fingerprint(kind, fields, arrays), provenance)
