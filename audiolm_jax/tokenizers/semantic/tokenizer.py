"""Semantic tokens from a frozen encoder of any kind and its k-means; the folder of both."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.artifacts.model_folder import (
    ModelFolder,
    load_model,
    part_of,
    read_model_json,
    save_model,
)
from audiolm_jax.artifacts.outside import check_code, check_trusted, is_outside, resolve
from audiolm_jax.artifacts.traced import program_of
from audiolm_jax.errors import InputError
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.partition import without_rules
from audiolm_jax.tokenizers.semantic.frame_encoder import ModuleEncoder
from audiolm_jax.tokenizers.semantic.hubert import config as hubert
from audiolm_jax.tokenizers.semantic.hubert.model import Hubert
from audiolm_jax.tokenizers.semantic.kmeans.config import Clustering
from audiolm_jax.tokenizers.semantic.kmeans.distances import distances_to, nearest
from audiolm_jax.tokenizers.semantic.stretches import (
    check_phases,
    in_phases,
    interleaved,
    stretches,
)
from audiolm_jax.tokenizers.semantic.w2v_bert import config as w2v_bert
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.tokenizers.semantic.w2v_bert2 import config as w2v_bert2
from audiolm_jax.tokenizers.semantic.w2v_bert2.model import W2vBert2
from audiolm_jax.tokenizers.semantic.window_config import DEFAULT, WindowConfig
from audiolm_jax.tokenizers.semantic.windows import in_windows
from audiolm_jax.types import Array, AudioBatch, SemanticTokenizer, SemanticTokens

KIND = "semantic"
# Kind of a model folder -> its config and its module; one from outside is `module:attribute`.
ENCODERS: dict[str, tuple[Any, Any]] = {
    w2v_bert.KIND: (w2v_bert.W2vBertConfig, W2vBert),
    w2v_bert2.KIND: (w2v_bert2.W2vBert2Config, W2vBert2),
    hubert.KIND: (hubert.HubertConfig, Hubert),
}
ENCODER, _KMEANS = "encoder.", "kmeans."  # before the names of arrays
_CLUSTERING = tuple(field.name for field in dataclasses.fields(Clustering))


@dataclasses.dataclass(frozen=True)
class SemanticTokenizerConfig:
    """Everything that decides the ids, beside the weights."""

    encoder: str  # its kind
    model: dict[str, Any]  # its config, as in its own model folder
    layer: str  # whose features are clustered
    clusters: int
    window: WindowConfig
    phases: int  # encodings of a recording (`stretches.py`); 1: the nearest cluster of each token


def load_frame_encoder(directory: Path, window: WindowConfig = DEFAULT) -> ModuleEncoder:
    """Reads and verifies an encoder's model folder, of any kind; `window` cuts long recordings."""
    return make_encoder(load_encoder_folder(directory), str(directory), window)


def load_semantic_tokenizer(directory: Path) -> SemanticTokenizer:
    """Reads and verifies a folder of encoder and k-means. Its kind may be `module:attribute`, a
    function of a trusted module: a `ModelFolder` to a `SemanticTokenizer`."""
    if is_outside(read_model_json(directory)["kind"]):
        return part_of(load_model(directory), SemanticTokenizer, str(directory))
    return load_kmeans_tokenizer(directory)


def load_kmeans_tokenizer(directory: Path) -> "KmeansTokenizer":
    """Reads and verifies a folder of encoder and k-means."""
    return KmeansTokenizer(load_model(directory, KIND), str(directory))


def save_semantic_tokenizer(
    directory: Path,
    encoder: Path | ModelFolder,
    layer: str,
    clustering: Clustering,
    provenance: dict[str, Any],
    window: WindowConfig = DEFAULT,
    phases: int = 1,
) -> str:
    """Writes the folder of encoder (model folder or content) and k-means; its fingerprint."""
    if isinstance(encoder, Path):
        encoder = load_encoder_folder(encoder)
    arrays = {ENCODER + name: array for name, array in encoder.arrays.items()}
    arrays |= {_KMEANS + name: getattr(clustering, name) for name in _CLUSTERING}
    clusters = len(clustering.centroids)
    config = SemanticTokenizerConfig(encoder.kind, encoder.config, layer, clusters, window, phases)
    origin = {"fingerprint": encoder.fingerprint, "provenance": encoder.provenance}
    # Not to write what cannot be read.
    folder = ModelFolder(KIND, config_to_dict(config), arrays, "", {}, encoder.code)
    KmeansTokenizer(folder, str(directory))
    provenance = {**provenance, "encoder": origin}
    return save_model(directory, KIND, config, arrays, provenance, encoder.code)


def load_encoder_folder(directory: Path) -> ModelFolder:
    """The content of an encoder's model folder, of any kind, or of the encoder in a semantic
    tokenizer's, then under the fingerprint of the tokenizer."""
    kind = read_model_json(directory)["kind"]
    if kind not in (KIND, *ENCODERS) and not is_outside(kind):
        expected = f"expected an encoder: {' or '.join(ENCODERS)}"
        raise InputError(f"{directory}: holds a {kind!r} model, {expected}")
    folder = load_model(directory, kind)
    if kind != KIND:
        return folder
    config = config_from_dict(SemanticTokenizerConfig, folder.config, str(directory))
    return encoder_within(folder, config.encoder, config.model)


def encoder_within(folder: ModelFolder, kind: str, config: dict[str, Any]) -> ModelFolder:
    """The encoder that a tokenizer's folder holds, under the fingerprint of the tokenizer."""
    stored = folder.arrays.items()
    arrays = {n.removeprefix(ENCODER): x for n, x in stored if n.startswith(ENCODER)}
    fingerprint, provenance = folder.fingerprint, folder.provenance
    return ModelFolder(kind, config, arrays, fingerprint, provenance, folder.code)


def make_encoder(folder: ModelFolder, where: str, window: WindowConfig = DEFAULT) -> ModuleEncoder:
    """The encoder that a model folder read from `where` holds. One from outside is an
    `EncoderModule` with its `config_type`, an `EncoderConfig`."""
    if is_outside(folder.kind):
        check_trusted(folder.kind, where)
        check_code(folder.kind, folder.code, where)
        module = resolve(folder.kind, where)
        if (config_class := getattr(module, "config_type", None)) is None:
            raise InputError(f"{where}: {folder.kind} has no config_type, the class of its config")
    elif folder.kind in ENCODERS:
        config_class, module = ENCODERS[folder.kind]
    else:
        raise InputError(f"{where}: encoder = {folder.kind!r}: expected {' or '.join(ENCODERS)}")
    config = config_from_dict(config_class, folder.config, where)
    build = lambda: module(config, rngs=nnx.Rngs(params=0))  # noqa: E731
    return ModuleEncoder(build, config, folder, where, window)


class KmeansTokenizer:
    """`types.SemanticTokenizer` of a folder of kind "semantic"; `clustering` is its k-means."""

    def __init__(self, folder: ModelFolder, where: str) -> None:
        self.config = config_from_dict(SemanticTokenizerConfig, folder.config, where)
        origin = encoder_within(folder, self.config.encoder, self.config.model)
        encoder = make_encoder(origin, where, self.config.window)
        encoder.check_layer(self.config.layer)
        self.sample_rate_hz, self.hop_samples = encoder.sample_rate_hz, encoder.hop_samples
        self.clusters, self.fingerprint = self.config.clusters, folder.fingerprint
        self.clustering = self._read_clustering(encoder.config.feature_width, folder, where)
        kmeans = tuple(jnp.asarray(getattr(self.clustering, name)) for name in _CLUSTERING)
        self._weights = (encoder.params, kmeans)

        check_phases(self.config.phases, self.hop_samples, where)
        sizes = self.config.layer, self.config.phases, self.hop_samples
        outside = is_outside(self.config.encoder)
        facts = None if outside else json.dumps(folder.config, sort_keys=True)
        self._compiled = _program(encoder.structure, facts, *sizes)

    def encode(self, audio: AudioBatch) -> SemanticTokens:
        """Cluster ids of each item, as it would get alone; numpy int32 [b, ceil(s / hop)]."""
        compiled = functools.partial(self._compiled, self._weights)
        window, empty = self.config.window, np.zeros((), np.int32)
        return SemanticTokens(*in_windows(compiled, audio, self.hop_samples, window, empty))

    def _read_clustering(self, width: int, folder: ModelFolder, where: str) -> Clustering:
        shapes = {"mean": (width,), "std": (width,), "centroids": (self.clusters, width)}
        for name, shape in shapes.items():
            array = folder.arrays.get(_KMEANS + name)
            if array is None or array.shape != shape:
                state = "missing" if array is None else f"of shape {array.shape}"
                words = f"is {state}, the encoder needs {shape}; fit k-means on this encoder"
                raise InputError(f"{where}: array {_KMEANS + name!r} {words}")
        return Clustering(**{name: folder.arrays[_KMEANS + name] for name in _CLUSTERING})


@functools.cache
def _program(structure: nnx.GraphDef, facts: str | None, layer: str, phases: int, hop: int) -> Any:
    """(weights, audio) -> ids, for all tokenizers that differ in their weights alone; `facts`, if
    it is known, tells all that decides them."""

    def features(params: nnx.State, audio: AudioBatch) -> Any:
        return nnx.merge(structure, params).features(audio, layer)[0]

    def encode(weights: tuple, audio: AudioBatch) -> Array:
        params, kmeans = weights
        if phases == 1:
            return nearest(features(params, audio), *kmeans)
        begun = in_phases(audio, hop, phases)
        dense = interleaved(features(params, begun), phases)
        frames = valid_frames(-(-jnp.asarray(audio.lengths) // hop) * phases, dense.shape[1])
        distances = jnp.asarray(distances_to(dense, *kmeans))
        ids = stretches(distances, frames, phases)
        return ids[:, phases // 2 :: phases]  # at the middle of each token

    return program_of(without_rules(encode), "semantic", None if facts is None else [facts])
