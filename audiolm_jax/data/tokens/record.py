"""The tokens of one clip as a serialized tf.train.Example, without importing TensorFlow.

The message type is declared here to protobuf itself. Fields: `id`, `dataset`, `speaker`, `text`
(UTF-8), `acoustic` (uint16 little endian [t, q]), `semantic` (uint16 little endian [u]), `frames`
(t), `levels` (q), `source_rate_hz`.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Integer

from audiolm_jax.errors import InputError

_TEXT_FIELDS = ("id", "dataset", "speaker", "text")


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
    example = _example_class()()
    for name, value in values.items():
        feature = example.features.feature[name]
        (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value.append(value)
    return example.SerializeToString(deterministic=True)


def decode_record(data: bytes, where: str) -> TokenRecord:
    """Inverse of `encode_record`; InputError at `where`, a file, if the bytes are no record."""
    from google.protobuf.message import DecodeError

    example = _example_class()()
    try:
        example.ParseFromString(data)
        feature = example.features.feature
        clip_id, dataset, speaker, text = (
            _only(feature, name, "bytes_list").decode() for name in _TEXT_FIELDS
        )
        frames, levels, rate = (
            _only(feature, name, "int64_list") for name in ("frames", "levels", "source_rate_hz")
        )
        codes = np.frombuffer(_only(feature, "acoustic", "bytes_list"), "<u2")
        clusters = np.frombuffer(_only(feature, "semantic", "bytes_list"), "<u2")
        if min(frames, levels) < 1 or codes.size != frames * levels or not clusters.size:
            raise ValueError(f"{codes.size} codes are not {frames} frames of {levels} levels")
        if frames % clusters.size:
            raise ValueError(f"{frames} frames do not divide into {clusters.size} semantic tokens")
    except (DecodeError, ValueError) as error:
        raise InputError(f"{where}: not a token record: {error}; tokenize again") from error
    codes = codes.reshape(frames, levels)
    return TokenRecord(clip_id, codes, clusters, dataset, speaker, text, rate)


def _only(feature: Any, name: str, kind: str) -> Any:
    """The single value of a feature; the map makes a default of what is missing."""
    if name not in feature:
        raise ValueError(f"field {name!r} is missing")
    values = getattr(feature[name], kind).value
    if len(values) != 1:
        raise ValueError(f"field {name!r} holds {len(values)} values of {kind}, expected 1")
    return values[0]


# tensorflow/core/example/{example,feature}.proto
_EXAMPLE_PROTO = """
name: "example.proto" package: "tensorflow" syntax: "proto3"
message_type { name: "BytesList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "FloatList"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT } }
message_type { name: "Int64List"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tensorflow.BytesList" }
  field { name: "float_list" number: 2 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tensorflow.FloatList" }
  field { name: "int64_list" number: 3 label: LABEL_OPTIONAL oneof_index: 0
    type: TYPE_MESSAGE type_name: ".tensorflow.Int64List" } }
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".tensorflow.Features.FeatureEntry" }
  nested_type { name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL
      type: TYPE_MESSAGE type_name: ".tensorflow.Feature" } } }
message_type { name: "Example"
  field { name: "features" number: 1 label: LABEL_OPTIONAL
    type: TYPE_MESSAGE type_name: ".tensorflow.Features" } }
"""


@functools.cache
def _example_class() -> type:
    """The message class; in a pool of its own, as TensorFlow registers it in the default one."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
