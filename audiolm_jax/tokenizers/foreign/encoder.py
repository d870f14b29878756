"""Public encoders, as the transformers library saves them, into model folders.

What tells encoders apart is a `PublishedEncoder`: tables of names beside each encoder's model.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, compute_fingerprint
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.tokenizers.foreign.arrays import Layer, PublishedArrays, sha256_of
from audiolm_jax.tokenizers.foreign.transformers_files import (
    PublishedFields,
    read_json,
    read_safetensors_folder,
)

# Of training and of fine-tuned heads: nothing that hidden states depend on.
UNUSED = ("masked_spec_embed", "lm_head.")


@dataclasses.dataclass(frozen=True)
class PublishedEncoder:
    """One kind of public encoder."""

    kind: str  # of the model folder
    model: str  # its name in words
    unstated_licence: str  # what is said where none is given or found
    config_class: Any
    module: Callable[..., nnx.Module]
    prefix: str  # of the encoder's arrays in a fine-tuned model
    expected: Mapping[str, tuple]  # field of config.json -> values that are computed here
    fields: Mapping[str, str]  # field of the config -> its name in config.json
    absent: Mapping[str, Any]  # field of config.json -> what older files without it mean
    # What else the config needs, from config.json and from the preprocessor's file, if there.
    derive: Callable[[PublishedFields, PublishedFields | None], dict[str, Any]]
    layers: tuple[Layer, ...]  # those that a config leaves out are passed over


def read_encoder(
    published: PublishedEncoder, weights: Path, token_rate_hz: int, licence: str | None
) -> ModelFolder:
    """A model folder's content, of the transformers library's folder or the weights file in it.

    Frames are pooled down to `token_rate_hz`. `licence` None takes what the model card says.
    """
    content, arrays = read_safetensors_folder(weights)
    folder = weights if weights.is_dir() else weights.parent
    config = _config(published, content, folder, token_rate_hz)
    arrays = _convert(published, config, arrays, str(weights))
    provenance = {
        "model": published.model,
        "source": weights.resolve().name,
        "source_sha256": sha256_of(weights),
        "licence": licence or _card_licence(folder) or published.unstated_licence,
    }
    fields = config_to_dict(config)
    fingerprint = compute_fingerprint(published.kind, fields, arrays)
    return ModelFolder(published.kind, fields, arrays, fingerprint, provenance)


def _config(published: PublishedEncoder, content: Any, folder: Path, token_rate_hz: int) -> Any:
    fields = PublishedFields(content, str(folder / "config.json"), published.absent)
    for name, values in published.expected.items():
        fields.expect(name, *values)
    kinds = typing.get_type_hints(published.config_class)
    sizes = {ours: fields.read(theirs, kinds[ours]) for ours, theirs in published.fields.items()}
    path = folder / "preprocessor_config.json"
    preprocessor = PublishedFields(read_json(path), str(path)) if path.is_file() else None
    sizes |= published.derive(fields, preprocessor)
    try:
        config = published.config_class(**sizes, frames_per_token=1)
    except InputError as error:
        raise InputError(f"{fields.where}: {error}") from error
    rate_hz, hop_samples = config.sample_rate_hz, config.frame_hop_samples
    if token_rate_hz < 1 or rate_hz % (hop_samples * token_rate_hz):
        expected = f"expected {rate_hz / hop_samples:.6g} frames a second or a whole fraction of it"
        raise InputError(f"--token-rate-hz = {token_rate_hz}: {expected}")
    return dataclasses.replace(config, frames_per_token=rate_hz // (hop_samples * token_rate_hz))


def _convert(
    published: PublishedEncoder, config: Any, arrays: dict[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    arrays = {name.removeprefix(published.prefix): array for name, array in arrays.items()}
    used = {name: array for name, array in arrays.items() if not name.startswith(UNUSED)}
    source = PublishedArrays(used, where)
    module = nnx.eval_shape(lambda: published.module(config, rngs=nnx.Rngs(params=0)))
    shapes = flatten_shapes(nnx.state(module))
    converted = source.take_layers(published.layers, shapes)
    source.check_empty()
    assert converted.keys() == shapes.keys()
    return {name: np.ascontiguousarray(array) for name, array in converted.items()}


def _card_licence(folder: Path) -> str | None:
    """The licence that the header of the model card beside the weights names."""
    path = folder / "README.md"
    header = path.read_text(errors="replace").split("---") if path.is_file() else []
    if len(header) < 3 or header[0].strip():
        return None
    for line in header[1].splitlines():
        name, _, value = line.partition(":")
        if name == "license" and value.strip():
            return value.strip().strip("'\"")
    return None
