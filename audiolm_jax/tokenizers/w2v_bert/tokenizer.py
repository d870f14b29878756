"""Semantic tokens from a frozen encoder and its k-means, and the folder that holds both.

Bucket rule: audio is compiled for padded shapes only. The number of tokens is rounded up to the
next of 64, 128, 256, ... and the number of items to 1 or a multiple of 8, so that any mix of
lengths compiles few programs. Padding changes no item's features but by the rounding of sums of
another length.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from audiolm_jax.errors import InputError
from audiolm_jax.records import AudioBatch, SemanticTokens
from audiolm_jax.runtime.config_json import config_from_dict
from audiolm_jax.runtime.weights import ModelFolder, load_model, save_model, unflatten_into
from audiolm_jax.tokenizers.w2v_bert import train
from audiolm_jax.tokenizers.w2v_bert.kmeans import KmeansConfig, KmeansResult, nearest
from audiolm_jax.tokenizers.w2v_bert.model import W2vBert, W2vBertConfig, parse_layer

KIND = "semantic"
SMALLEST_BUCKET = 64  # tokens
ROWS = 8
_ENCODER, _KMEANS = "encoder.", "kmeans."


@dataclasses.dataclass(frozen=True)
class SemanticTokenizerConfig:
    """Everything that decides the ids, beside the weights.

    Attributes:
      model: sizes of the encoder.
      kmeans: number of clusters and the layer they divide.
    """

    model: W2vBertConfig = dataclasses.field(default_factory=W2vBertConfig)
    kmeans: KmeansConfig = dataclasses.field(default_factory=KmeansConfig)

    def __post_init__(self) -> None:
        parse_layer(self.kmeans.layer, self.model)


def bucket_tokens(tokens: int) -> int:
    """Padded number of tokens, by the rule of this module."""
    return max(SMALLEST_BUCKET, 1 << max(tokens - 1, 0).bit_length())


def pad_to_bucket(audio: AudioBatch, hop_samples: int) -> AudioBatch:
    """The same audio as numpy, padded with zeros and with empty items.

    Raises:
      InputError: shapes or lengths that do not fit each other.
    """
    samples, lengths = np.asarray(audio.samples), np.asarray(audio.lengths)
    if samples.ndim != 2 or lengths.shape != samples.shape[:1]:
        raise InputError(
            f"audio batch: samples {samples.shape} and lengths {lengths.shape}, expected [b, s] "
            "and [b]"
        )
    if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= samples.shape[1]:
        raise InputError(
            f"audio batch: lengths span [{lengths.min()}, {lengths.max()}], expected within "
            f"[0, {samples.shape[1]}] samples"
        )
    items = 1 if len(lengths) <= 1 else -(-len(lengths) // ROWS) * ROWS
    size = bucket_tokens(-(-samples.shape[1] // hop_samples)) * hop_samples
    padded = np.zeros((items, size), np.float32)
    padded[: len(lengths), : samples.shape[1]] = samples
    return AudioBatch(padded, np.pad(lengths, (0, items - len(lengths))).astype(np.int32))


class FeatureExtractor:
    """An encoder up to one layer, compiled per bucket."""

    def __init__(
        self, config: W2vBertConfig, arrays: dict[str, np.ndarray], layer: str, where: str
    ) -> None:
        """Takes the weights of the model folder `where`, by dotted name."""
        parse_layer(layer, config)
        abstract = nnx.eval_shape(lambda: W2vBert(config, rngs=nnx.Rngs(params=0)))
        graphdef, state = nnx.split(abstract)
        self._params = unflatten_into(state, arrays, where)
        self.config = config

        def features(params: nnx.State, audio: AudioBatch) -> Float[Array, "b u d"]:
            return nnx.merge(graphdef, params).features(audio, layer)[0]

        self.traceable = features
        self._compiled = jax.jit(features)

    @property
    def params(self) -> nnx.State:
        """Weights, the first argument of `traceable`."""
        return self._params

    @classmethod
    def load(cls, directory: Path, layer: str) -> "FeatureExtractor":
        """From a folder of kind "w2v_bert"."""
        folder = load_model(directory, train.KIND)
        config = config_from_dict(W2vBertConfig, folder.config, str(directory))
        return cls(config, folder.arrays, layer, str(directory))

    def __call__(self, audio: AudioBatch) -> list[np.ndarray]:
        """Features of each item, float32 [ceil(length / hop), d], as it would get alone."""
        padded = pad_to_bucket(audio, self.config.hop_samples)
        features = np.asarray(self._compiled(self._params, padded))
        tokens = -(-np.asarray(audio.lengths) // self.config.hop_samples)
        return [row[:count] for row, count in zip(features, tokens, strict=False)]


def extract_features(
    directory: Path, layer: str, batches: Iterable[AudioBatch]
) -> Iterator[np.ndarray]:
    """Features of every item in turn, [u, d] each, for `fit_kmeans` (concatenate them).

    Args:
      directory: model folder of kind "w2v_bert".
      layer: as in `KmeansConfig.layer`.
      batches: audio at the encoder's rate.
    """
    extractor = FeatureExtractor.load(directory, layer)
    for batch in batches:
        yield from extractor(batch)


def save_semantic_tokenizer(
    directory: Path,
    encoder_directory: Path,
    config: KmeansConfig,
    result: KmeansResult,
    provenance: dict[str, Any],
) -> str:
    """Writes the self-contained folder of encoder and k-means; returns its fingerprint.

    Args:
      directory: where to.
      encoder_directory: model folder of kind "w2v_bert" the features came from.
      config: what `result` was fitted with.
      result: the clustering.
      provenance: what is known of its origin; the encoder's fingerprint and provenance are added.
    """
    encoder = load_model(encoder_directory, train.KIND)
    model = config_from_dict(W2vBertConfig, encoder.config, str(encoder_directory))
    arrays = {_ENCODER + name: array for name, array in encoder.arrays.items()}
    for name in ("mean", "std", "centroids"):
        arrays[_KMEANS + name] = getattr(result, name)
    origin = {"fingerprint": encoder.fingerprint, "provenance": encoder.provenance}
    return save_model(
        directory,
        KIND,
        SemanticTokenizerConfig(model, config),
        arrays,
        {**provenance, "encoder": origin},
    )


class W2vBertTokenizer:
    """`records.SemanticTokenizer` of a folder of kind "semantic".

    Attributes:
      config: of encoder and k-means.
      sample_rate_hz: rate of the audio it takes.
      hop_samples: samples of one token.
      clusters: K; ids are in [0, K).
      fingerprint: of the folder; equal fingerprints give equal ids.
    """

    def __init__(self, folder: ModelFolder, where: str) -> None:
        """Takes a verified folder, read from `where`."""
        self.config = config_from_dict(SemanticTokenizerConfig, folder.config, where)
        self.sample_rate_hz = self.config.model.sample_rate_hz
        self.hop_samples = self.config.model.hop_samples
        self.clusters = self.config.kmeans.clusters
        self.fingerprint = folder.fingerprint
        encoder = {
            name.removeprefix(_ENCODER): array
            for name, array in folder.arrays.items()
            if name.startswith(_ENCODER)
        }
        extractor = FeatureExtractor(self.config.model, encoder, self.config.kmeans.layer, where)
        self._weights = (extractor.params, self._kmeans_arrays(folder, where))

        def encode(weights: tuple, audio: AudioBatch) -> Array:
            params, (mean, std, centroids) = weights
            features = extractor.traceable(params, audio)
            flat = features.reshape(-1, features.shape[-1])
            return nearest(flat, mean, std, centroids).reshape(features.shape[:2])

        self._compiled = jax.jit(encode)

    @classmethod
    def load(cls, directory: Path) -> "W2vBertTokenizer":
        """Reads and verifies a folder.

        Raises:
          InputError: missing or damaged files, another kind, or arrays that do not fit the config.
        """
        return cls(load_model(directory, KIND), str(directory))

    def encode(self, audio: AudioBatch) -> SemanticTokens:
        """Cluster ids of each item, as it would get alone; numpy int32 [b, ceil(s / hop)]."""
        padded = pad_to_bucket(audio, self.hop_samples)
        lengths = -(-np.asarray(audio.lengths, np.int32) // self.hop_samples)
        tokens = -(-audio.samples.shape[1] // self.hop_samples)
        ids = np.asarray(self._compiled(self._weights, padded))[: len(lengths), :tokens]
        inside = np.arange(tokens)[None, :] < lengths[:, None]
        return SemanticTokens(np.where(inside, ids, 0).astype(np.int32), lengths)

    def _kmeans_arrays(self, folder: ModelFolder, where: str) -> tuple[Array, Array, Array]:
        width = self.config.model.conformer.width
        shapes = {"mean": (width,), "std": (width,), "centroids": (self.clusters, width)}
        for name, shape in shapes.items():
            array = folder.arrays.get(_KMEANS + name)
            found = "missing" if array is None else f"of shape {array.shape}"
            if array is None or array.shape != shape:
                raise InputError(
                    f"{where}: array {_KMEANS + name!r} is {found}, the config needs {shape}; "
                    "fit k-means again"
                )
        return tuple(jnp.asarray(folder.arrays[_KMEANS + name]) for name in shapes)
