"""Features of a frozen encoder, quantized level by level: what Table I of AudioLM compares its
semantic and its acoustic tokens with, at the acoustic tokens' bitrate."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model, save_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.config import ResidualClustering
from audiolm_jax.tokenizers.semantic.kmeans.distances import squared_distances, standardized
from audiolm_jax.tokenizers.semantic.tokenizer import (
    ENCODER,
    encoder_within,
    load_encoder_folder,
    make_encoder,
)
from audiolm_jax.tokenizers.semantic.window_config import DEFAULT, WindowConfig
from audiolm_jax.tokenizers.semantic.windows import in_windows
from audiolm_jax.types import AcousticTokens, Array, AudioBatch

KIND = "residual"
_QUANTIZER = "quantizer."
_ARRAYS = ("mean", "std", "codebooks")


@dataclasses.dataclass(frozen=True)
class ResidualTokenizerConfig:
    """Everything that decides the codes, beside the weights."""

    encoder: str  # its kind
    model: dict[str, Any]  # its config, as in its own model folder
    layer: str  # whose features are quantized
    levels: int  # codebooks
    codebook_size: int  # codes of each
    window: WindowConfig


def save_residual_tokenizer(
    directory: Path,
    encoder: Path,
    layer: str,
    clustering: ResidualClustering,
    provenance: dict[str, Any],
    window: WindowConfig = DEFAULT,
) -> str:
    """Writes the folder of encoder and codebooks; its fingerprint."""
    folder = load_encoder_folder(encoder)
    arrays = {ENCODER + name: array for name, array in folder.arrays.items()}
    arrays |= {_QUANTIZER + name: getattr(clustering, name) for name in _ARRAYS}
    levels, size, _ = clustering.codebooks.shape
    config = ResidualTokenizerConfig(folder.kind, folder.config, layer, levels, size, window)
    origin = {"fingerprint": folder.fingerprint, "provenance": folder.provenance}
    provenance = {**provenance, "encoder": origin}
    return save_model(directory, KIND, config, arrays, provenance, folder.code)


class ResidualTokenizer:
    """Codes of all levels, of a folder of kind "residual"; an item gets what it would get alone."""

    def __init__(self, folder: ModelFolder, where: str) -> None:
        self.config = config_from_dict(ResidualTokenizerConfig, folder.config, where)
        origin = encoder_within(folder, self.config.encoder, self.config.model)
        encoder = make_encoder(origin, where, self.config.window)
        encoder.check_layer(self.config.layer)
        self.sample_rate_hz, self.hop_samples = encoder.sample_rate_hz, encoder.hop_samples
        self.levels, self.codebook_size = self.config.levels, self.config.codebook_size
        self.fingerprint, self._width = folder.fingerprint, encoder.config.feature_width
        quantizer = self._read_quantizer(folder, where)
        self._codebooks = quantizer[-1]
        self._weights = (encoder.params, tuple(map(jnp.asarray, quantizer)))
        layer = self.config.layer

        def encode(weights: tuple, audio: AudioBatch) -> Array:
            params, (mean, std, codebooks) = weights
            features_BxUxD = encoder.traceable(params, audio, layer)
            flat = features_BxUxD.reshape(-1, features_BxUxD.shape[-1])
            codes = residual_codes(standardized(flat, mean, std), codebooks)
            return codes.reshape(*features_BxUxD.shape[:-1], -1)

        self._compiled = jax.jit(encode)

    @classmethod
    def load(cls, directory: Path) -> "ResidualTokenizer":
        """Reads and verifies a model folder."""
        return cls(load_model(directory, KIND), str(directory))

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """numpy int32 [b, ceil(s / hop), q]."""
        compiled = functools.partial(self._compiled, self._weights)
        empty = np.zeros(self.levels, np.int32)
        window = self.config.window
        return AcousticTokens(*in_windows(compiled, audio, self.hop_samples, window, empty))

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the code vectors of the levels given, the first of all, in units of the features'
        deviation."""
        levels = range(codes.shape[1])
        return functools.reduce(np.add, (self._codebooks[i][codes[:, i]] for i in levels))

    def _read_quantizer(self, folder: ModelFolder, where: str) -> tuple[np.ndarray, ...]:
        width = self._width
        sizes = (self.levels, self.codebook_size, width)
        found = []
        for name, shape in zip(_ARRAYS, ((width,), (width,), sizes), strict=True):
            array = folder.arrays.get(_QUANTIZER + name)
            if array is None or array.shape != shape:
                state = "missing" if array is None else f"of shape {array.shape}"
                words = f"is {state}, expected {shape}; fit the levels on this encoder"
                raise InputError(f"{where}: array {_QUANTIZER + name!r} {words}")
            found.append(array)
        return tuple(found)


def residual_codes(
    points: Float[Array, "n d"], codebooks: Float[Array, "q k d"]
) -> Int[Array, "n q"]:
    """The nearest code of each level to what the levels before left over, int32; ties go to the
    lower."""

    def level(residual_NxD: jax.Array, vectors_KxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        distances = jnp.asarray(squared_distances(residual_NxD, vectors_KxD))
        codes_N = jnp.argmin(distances, axis=1).astype(jnp.int32)
        return residual_NxD - vectors_KxD[codes_N], codes_N

    _, codes_QxN = jax.lax.scan(level, jnp.asarray(points), jnp.asarray(codebooks))
    return codes_QxN.T
