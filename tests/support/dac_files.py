"""Random weights of the codec, as ours and as its two publishers write them."""

import json
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from audiolm_jax.nn.conv import initialize
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.model import Dac

FIELDS = {
    "model_type": "dac",
    "sampling_rate": 1600,
    "downsampling_ratios": [2, 5],
    "upsampling_ratios": [5, 2],
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 16,
    "hidden_size": 12,
    "n_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
    "hop_length": 512,  # published files hold a wrong one; it follows from the strides
}
CONFIG = DacConfig(1600, (2, 5), 4, 16, 12, 2, 16, 4)
KWARGS = {
    "encoder_dim": 4,
    "encoder_rates": [2, 5],
    "latent_dim": 12,
    "decoder_dim": 16,
    "decoder_rates": [5, 2],
    "n_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
    "quantizer_dropout": 0.5,
    "sample_rate": 1600,
}

# Published names of a codec with two stages, written out: transformers' and Descript's.
_UNIT = [("snake1", "0"), ("conv1", "1"), ("snake2", "2"), ("conv2", "3")]
PAIRS = {
    "encoder.conv1": "encoder.block.0",
    "encoder.snake1": "encoder.block.3",
    "encoder.conv2": "encoder.block.4",
    "decoder.conv1": "decoder.model.0",
    "decoder.snake1": "decoder.model.3",
    "decoder.conv2": "decoder.model.4",
}
for _i in (0, 1):
    PAIRS |= {
        f"encoder.block.{_i}.snake1": f"encoder.block.{_i + 1}.block.3",
        f"encoder.block.{_i}.conv1": f"encoder.block.{_i + 1}.block.4",
        f"decoder.block.{_i}.snake1": f"decoder.model.{_i + 1}.block.0",
        f"decoder.block.{_i}.conv_t1": f"decoder.model.{_i + 1}.block.1",
    }
    for _j in (0, 1, 2):
        for _theirs, _number in _UNIT:
            PAIRS[f"encoder.block.{_i}.res_unit{_j + 1}.{_theirs}"] = (
                f"encoder.block.{_i + 1}.block.{_j}.block.{_number}"
            )
            PAIRS[f"decoder.block.{_i}.res_unit{_j + 1}.{_theirs}"] = (
                f"decoder.model.{_i + 1}.block.{_j + 2}.block.{_number}"
            )


def random_arrays(config: DacConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters by our names; biases and alphas matter too."""
    build = initialize(lambda draws: Dac(config, draws=draws), jax.random.key(seed))
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, x in flatten_state(nnx.state(build)).items():
        if name.endswith("alpha"):
            x = rng.uniform(0.3, 3.0, x.shape)
        elif name.endswith("bias"):
            x = rng.normal(0, 0.3, x.shape)
        elif name == "decoder.last.causal.kernel":
            x = 0.1 * x  # else the decoded samples lie at +-1
        arrays[name] = x.astype(np.float32)
    return arrays


def conv_shapes() -> dict[str, tuple[int, ...]]:
    """Torch shape of every array by transformers' name."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, first: int, second: int, kernel: int, bias: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (first, second, kernel), (bias,)

    def snake(name: str, width: int) -> None:
        shapes[f"{name}.alpha"] = (1, width, 1)

    def units(name: str, width: int) -> None:
        for j in (1, 2, 3):
            snake(f"{name}.res_unit{j}.snake1", width)
            conv(f"{name}.res_unit{j}.conv1", width, width, 7, width)
            snake(f"{name}.res_unit{j}.snake2", width)
            conv(f"{name}.res_unit{j}.conv2", width, width, 1, width)

    conv("encoder.conv1", 4, 1, 7, 4)
    for i, (width, stride) in enumerate(((4, 2), (8, 5))):
        units(f"encoder.block.{i}", width)
        snake(f"encoder.block.{i}.snake1", width)
        conv(f"encoder.block.{i}.conv1", 2 * width, width, 2 * stride, 2 * width)
    snake("encoder.snake1", 16)
    conv("encoder.conv2", 12, 16, 3, 12)
    for level in (0, 1):
        conv(f"quantizer.quantizers.{level}.in_proj", 4, 12, 1, 4)
        conv(f"quantizer.quantizers.{level}.out_proj", 12, 4, 1, 12)
        shapes[f"quantizer.quantizers.{level}.codebook.weight"] = (16, 4)
    conv("decoder.conv1", 16, 12, 7, 16)
    for i, (width, stride) in enumerate(((16, 5), (8, 2))):
        snake(f"decoder.block.{i}.snake1", width)
        conv(f"decoder.block.{i}.conv_t1", width, width // 2, 2 * stride, width // 2)
        units(f"decoder.block.{i}", width // 2)
    snake("decoder.snake1", 4)
    conv("decoder.conv2", 1, 4, 7, 1)
    return shapes


def transformers_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in conv_shapes().items()}


def write_transformers(folder: Path, arrays=None, fields=None) -> Path:
    folder.mkdir(parents=True)
    save_file(transformers_arrays() if arrays is None else arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(FIELDS if fields is None else fields))
    return folder


def descript_arrays(arrays: dict[str, np.ndarray], pairs: dict[str, str]) -> dict[str, np.ndarray]:
    """The same weights under Descript's names, each kernel as norm and (unscaled) direction."""
    rng = np.random.default_rng(7)
    renamed = {}
    for name, array in arrays.items():
        prefix, last = name.rsplit(".", 1)
        prefix = pairs.get(prefix, prefix)
        if last == "weight" and array.ndim == 3:
            norm = np.sqrt(np.square(array).sum((1, 2), keepdims=True))
            scale = rng.uniform(0.5, 2.0, norm.shape).astype(np.float32)
            renamed[f"{prefix}.weight_g"] = norm
            renamed[f"{prefix}.weight_v"] = array * scale
        else:
            renamed[f"{prefix}.{last}"] = array
    return renamed
