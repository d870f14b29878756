"""The tokens of one clip as a serialised tf.train.Example, without importing TensorFlow.

The message type is declared here to protobuf itself, so what is written parses in every tool that
reads tf.train.Example. Fields: `id`, `dataset`, `speaker`, `text` (UTF-8), `acoustic` (uint16
little endian [t, q]), `semantic` (uint16 little endian [u]), `frames` (t), `levels` (q),
`source_rate_hz`.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from audiolm_jax.errors import InputError

_TEXT_FIELDS = ("id", "dataset", "speaker", "text")


@dataclasses.dataclass(frozen=True)
class TokenRecord:
    """Both token streams of one clip.

    Attributes:
      clip_id: name of the clip within its dataset.
      codes: uint16 [t, q] acoustic codes.
      clusters: uint16 [u] semantic clusters, not de-duplicated; t is a multiple of u.
      dataset: name of the corpus.
      speaker: "" if unknown.
      text: transcript, "" if unknown.
      source_rate_hz: sample rate of the original file.
    """

    clip_id: str
    codes: np.ndarray
    clusters: np.ndarray
    dataset: str
    speaker: str
    text: str
    source_rate_hz: int


def encode_record(record: TokenRecord) -> bytes:
    """The record's bytes; the same record gives the same bytes."""
    for name, tokens in (("acoustic", record.codes), ("semantic", record.clusters)):
        if tokens.size and not (0 <= int(tokens.min()) and int(tokens.max()) <= 0xFFFF):
            raise ValueError(f"{name} tokens of {record.clip_id} do not fit 16 bits")
    example = _message("Example")()
    feature = example.features.feature
    values = (record.clip_id, record.dataset, record.speaker, record.text)
    for name, value in zip(_TEXT_FIELDS, values, strict=True):
        feature[name].bytes_list.value.append(value.encode())
    feature["acoustic"].bytes_list.value.append(record.codes.astype("<u2").tobytes())
    feature["semantic"].bytes_list.value.append(record.clusters.astype("<u2").tobytes())
    frames, levels = record.codes.shape
    for name, number in (
        ("frames", frames),
        ("levels", levels),
        ("source_rate_hz", record.source_rate_hz),
    ):
        feature[name].int64_list.value.append(number)
    return example.SerializeToString(deterministic=True)


def decode_record(data: bytes, where: str) -> TokenRecord:
    """Inverse of `encode_record`.

    Args:
      data: a serialised tf.train.Example.
      where: the file, for the error.

    Raises:
      InputError: not such a record, or streams of inconsistent sizes.
    """
    from google.protobuf.message import DecodeError

    example = _message("Example")()
    try:
        example.ParseFromString(data)
        feature = example.features.feature
        texts = [_only(feature, name, "bytes_list").decode() for name in _TEXT_FIELDS]
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
    clip_id, dataset, speaker, text = texts
    return TokenRecord(
        clip_id, codes.reshape(frames, levels), clusters, dataset, speaker, text, rate
    )


def _only(feature: Any, name: str, kind: str) -> Any:
    """The single value of a feature; the map makes a default of what is missing."""
    if name not in feature:
        raise ValueError(f"field {name!r} is missing")
    values = getattr(feature[name], kind).value
    if len(values) != 1:
        raise ValueError(f"field {name!r} holds {len(values)} values of {kind}, expected 1")
    return values[0]


@functools.cache
def _message(name: str) -> type:
    """Message class of tensorflow/core/example/{example,feature}.proto, in a pool of its own.

    The pool is private because TensorFlow registers the same names in the default one.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )

    def message(name: str, *fields: tuple) -> Any:
        declared = file.message_type.add(name=name)
        for number, (field, label, kind, type_name) in enumerate(fields, 1):
            declared.field.add(
                name=field, number=number, label=label, type=kind, type_name=type_name
            )
        return declared

    one, many = field_type.LABEL_OPTIONAL, field_type.LABEL_REPEATED
    message("BytesList", ("value", many, field_type.TYPE_BYTES, None))
    message("FloatList", ("value", many, field_type.TYPE_FLOAT, None))
    message("Int64List", ("value", many, field_type.TYPE_INT64, None))
    kinds = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
    feature = message(
        "Feature",
        *((field, one, field_type.TYPE_MESSAGE, f".tensorflow.{kind}") for field, kind in kinds),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message(
        "Features",
        ("feature", many, field_type.TYPE_MESSAGE, ".tensorflow.Features.FeatureEntry"),
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=field_type.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=one,
        type=field_type.TYPE_MESSAGE,
        type_name=".tensorflow.Feature",
    )
    message("Example", ("features", one, field_type.TYPE_MESSAGE, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.{name}"))
