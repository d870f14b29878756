"""The tokens of one clip as a serialized tf.train.Example, without importing TensorFlow.

Fields: `id`, `dataset`, `speaker`, `text` (UTF-8), `acoustic` (uint16 little endian [t, q]),
`semantic` (uint16 little endian [u]), `frames` (t), `levels` (q), `source_rate_hz`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Integer

from audiolm_jax.data.example import encode_example, features_of, naming, only

_TEXT_FIELDS = ("id", "dataset", "speaker", "text")
_TOKEN_FIELDS = {"acoustic", "semantic", "frames", "levels"}


@dataclasses.dataclass(frozen=True)
class TokenRecord:
    """Both token streams of one clip."""

    clip_id: str  # name of the clip within its dataset
    codes: np.ndarray  # uint16 [t, q], acoustic
    clusters: np.ndarray  # uint16 [u], semantic, not de-duplicated; t is a multiple of u
    dataset: str
    speaker: str  # "" if unknown
    text: str  # transcript, "" if unknown
    source_rate_hz: int  # of the original file

    def cut(
        self, start: int, stop: int
    ) -> tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, "m q"]]:
        """Clusters and codes of the semantic tokens from `start` to `stop`."""
        frames = len(self.codes) // len(self.clusters)
        return self.clusters[start:stop], self.codes[start * frames : stop * frames]


def encode_record(record: TokenRecord) -> bytes:
    """The record's bytes; the same record gives the same bytes."""
    for name, tokens in (("acoustic", record.codes), ("semantic", record.clusters)):
        if tokens.size and not (0 <= int(tokens.min()) and int(tokens.max()) <= 0xFFFF):
            raise ValueError(f"{name} tokens of {record.clip_id} do not fit 16 bits")
    frames, levels = record.codes.shape
    texts = (record.clip_id, record.dataset, record.speaker, record.text)
    values = {
        **dict(zip(_TEXT_FIELDS, (text.encode() for text in texts), strict=True)),
        "acoustic": record.codes.astype("<u2").tobytes(),
        "semantic": record.clusters.astype("<u2").tobytes(),
        "frames": frames,
        "levels": levels,
        "source_rate_hz": record.source_rate_hz,
    }
    return encode_example(values)


def decode_record(data: bytes, where: str) -> TokenRecord:
    """Inverse of `encode_record`; InputError at `where`, a file, if the bytes are no record."""
    with naming(where, "a token record", "tokenize again"):
        feature = dict(features_of(data))
        clusters, codes = _tokens(feature)
        texts = (only(feature, name, "bytes_list").decode() for name in _TEXT_FIELDS)
        clip_id, dataset, speaker, text = texts
        rate = only(feature, "source_rate_hz", "int64_list")
        return TokenRecord(clip_id, codes, clusters, dataset, speaker, text, rate)


def decode_tokens(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Clusters and codes of a record alone, in half the time of `decode_record`."""
    with naming(where, "a token record", "tokenize again"):
        return _tokens({key: value for key, value in features_of(data) if key in _TOKEN_FIELDS})


def _tokens(feature: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    frames, levels = (only(feature, name, "int64_list") for name in ("frames", "levels"))
    codes = np.frombuffer(only(feature, "acoustic", "bytes_list"), "<u2")
    clusters = np.frombuffer(only(feature, "semantic", "bytes_list"), "<u2")
    if min(frames, levels) < 1 or codes.size != frames * levels or not clusters.size:
        raise ValueError(f"{codes.size} codes are not {frames} frames of {levels} levels")
    if frames % clusters.size:
        raise ValueError(f"{frames} frames do not divide into {clusters.size} semantic tokens")
    return clusters, codes.reshape(frames, levels)
