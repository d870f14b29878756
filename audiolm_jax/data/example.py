"""Serialized tf.train.Example without TensorFlow: a value for each name."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from audiolm_jax.artifacts.protobuf import Messages, message_class
from audiolm_jax.errors import InputError

# tensorflow/core/example/{example,feature}.proto, where Entry is a map's and comes by rising key.
MESSAGES: Messages = {
    "BytesList": {"value": (1, ["bytes"])},
    "Int64List": {"value": (1, ["int64"])},
    "Feature": {"bytes_list": (1, "BytesList"), "int64_list": (3, "Int64List")},
    "Entry": {"key": (1, "string"), "value": (2, "Feature")},
    "Features": {"feature": (1, ["Entry"])},
    "Example": {"features": (1, "Features")},
}
_Example = message_class(MESSAGES, "Example")


def encode_example(values: Mapping[str, bytes | int]) -> bytes:
    """One value a name; the same values give the same bytes."""
    example = _Example()
    for name, value in sorted(values.items()):
        feature = example.features.feature.add(key=name).value
        (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value.append(value)
    return example.SerializeToString(deterministic=True)


def features_of(data: bytes) -> Iterator[tuple[str, Any]]:
    """(name, message of the value) of an example; DecodeError if the bytes are none."""
    return ((entry.key, entry.value) for entry in _Example.FromString(data).features.feature)


def only(feature: Mapping[str, Any], name: str, kind: str) -> Any:
    """The single value of a feature, `kind` "bytes_list" or "int64_list"; ValueError without."""
    if name not in feature:
        raise ValueError(f"field {name!r} is missing")
    values = getattr(feature[name], kind).value
    if len(values) != 1:
        raise ValueError(f"field {name!r} holds {len(values)} values of {kind}, expected 1")
    return values[0]


@contextlib.contextmanager
def naming(where: str, what: str, remedy: str) -> Iterator[None]:
    """Errors within, of bytes that are not `what` they should be, become an InputError."""
    try:
        yield
    except (DecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: not {what}: {error}; {remedy}") from error
