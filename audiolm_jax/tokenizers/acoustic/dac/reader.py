"""Public weights of the Descript Audio Codec into a model folder."""

from pathlib import Path
from typing import Literal

import numpy as np
from flax import nnx

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.tokenizers.acoustic.codec import abstract_network
from audiolm_jax.tokenizers.acoustic.dac.codec import KIND
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.model import Dac
from audiolm_jax.tokenizers.acoustic.dac.names import convolutional_layers
from audiolm_jax.tokenizers.acoustic.dac.published_config import (
    config_from_descript,
    config_from_transformers,
)
from audiolm_jax.tokenizers.foreign.arrays import Layer, PublishedArrays, sha256_of
from audiolm_jax.tokenizers.foreign.torch_file import read_torch_file
from audiolm_jax.tokenizers.foreign.transformers_files import read_safetensors_folder

LICENCE = "MIT; Copyright (c) 2023-present, Descript"
_TORCH_SUFFIXES = (".pth", ".pt")

_LEVEL = "quantizer.quantizers.{}."  # of both publishers
_QUANTIZER = (
    Layer("quantizer", _LEVEL + "in_proj", "in_projection"),
    Layer("quantizer", _LEVEL + "out_proj", "out_projection"),
    Layer("quantizer", _LEVEL + "codebook", "codebooks"),
)


def import_dac(weights: Path, out: Path) -> tuple[DacConfig, str]:
    """Writes a model folder from Descript's torch file or the transformers library's folder (or
    its safetensors file); returns the config and the fingerprint."""
    config, arrays = read_dac(weights)
    provenance = {
        "model": "Descript Audio Codec",
        "source": weights.resolve().name,
        "source_sha256": sha256_of(weights),
        "licence": LICENCE,
    }
    return config, save_model(out, KIND, config, arrays, provenance)


def read_dac(weights: Path) -> tuple[DacConfig, dict[str, np.ndarray]]:
    """Config and parameters by our names; weight normalisation is folded into the kernels."""
    if not weights.exists():
        raise InputError(f"{weights}: no such file or folder")
    if weights.is_file() and weights.suffix in _TORCH_SUFFIXES:
        content = read_torch_file(weights)
        config = config_from_descript(content, str(weights))
        published = content.get("state_dict")
        if not isinstance(published, dict):
            raise InputError(f"{weights}: no state_dict in it; take the published weights file")
        return config, arrays_from(config, published, "descript", str(weights))
    if weights.is_dir() or weights.suffix == ".safetensors":
        fields, published = read_safetensors_folder(weights)
        folder = weights if weights.is_dir() else weights.parent
        config = config_from_transformers(fields, str(folder / "config.json"))
        return config, arrays_from(config, published, "transformers", str(weights))
    kinds = f"a torch file ({', '.join(_TORCH_SUFFIXES)}), a safetensors file or the folder of one"
    raise InputError(f"{weights}: expected {kinds}")


def arrays_from(
    config: DacConfig,
    published: dict[str, np.ndarray],
    publisher: Literal["descript", "transformers"],
    where: str,
) -> dict[str, np.ndarray]:
    """Parameters by our names and in our layout, from all arrays by the publisher's names."""
    source = PublishedArrays(published, where)
    layers = [Layer(x.here, getattr(x, publisher), x.kind) for x in convolutional_layers(config)]
    shapes = flatten_shapes(nnx.state(abstract_network(Dac, config)))
    arrays = source.take_layers([*layers, *_QUANTIZER], shapes)
    source.check_empty()
    return arrays
