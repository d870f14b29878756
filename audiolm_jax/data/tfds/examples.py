"""One serialized example of a dataset of TFDS: its sound, and what is said of it."""

import dataclasses
import hashlib
import io
import os
import zlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from audiolm_jax.artifacts.protobuf import message_class
from audiolm_jax.audio.files import mono
from audiolm_jax.audio.names import one_line
from audiolm_jax.data.example import MESSAGES
from audiolm_jax.data.metadata import GENDERS
from audiolm_jax.data.tfds.dataset import Dataset, Sound

# Packed numbers are declared as the bytes they are on the wire, of which no more are turned into
# numbers than it takes.
_MESSAGES = MESSAGES | {
    "FloatList": {"value": (1, "bytes")},
    "Int64List": {"value": (1, "bytes")},
    "Feature": MESSAGES["Feature"] | {"float_list": (2, "FloatList")},
}
_Example = message_class(_MESSAGES, "Example")
_LONGEST_VARINT = 10
# What the fields are called in datasets of speech and music, the first that is there.
_FIELDS = {
    "id": ("id", "utterance_id", "path", "file_name", "filename", "audio/filename"),
    "text": (
        *("text_normalized", "normalized_text", "text", "sentence"),
        *("transcript", "transcription"),
    ),
    "speaker": ("speaker_id", "speaker", "client_id", "spk_id", "spk"),
    "accent": ("accent", "accents"),
    "language": ("language", "locale", "lang"),
    "gender": ("gender", "sex"),
}


@dataclasses.dataclass(frozen=True)
class Heard:
    """What decoding an example tells."""

    samples: Float[np.ndarray, " s"]
    rate_hz: int
    channels: int
    codec: str  # FFmpeg's name for what is stored
    sha256: bytes  # of the file, or of the samples as they are stored


def fields_of(data: bytes) -> dict[str, Any]:
    """The message of each field of a record; DecodeError if the bytes are no example."""
    return {entry.key: entry.value for entry in _Example.FromString(data).features.feature}


def read_sound(
    fields: dict[str, Any], sound: Sound, start: int, stop: int
) -> tuple[Float[np.ndarray, " n"], int]:
    """Mono samples from `start` to `stop`, fewer where it ends, and how many there are in all.
    ValueError if the sound is not as the dataset describes it."""
    if sound.stored == "file":
        with _opened(_only_bytes(fields, sound.field)) as file:
            total = file.frames
            file.seek(min(start, total))
            values = file.read(max(0, min(stop, total) - start), dtype="float32", always_2d=True)
        return mono(values.T), total
    values, total = _values(fields, sound, start, stop)
    return mono(values.T), total


def hear(fields: dict[str, Any], sound: Sound) -> Heard:
    """All of it; ValueError if the sound is not as the dataset describes it."""
    if sound.stored == "file":
        data = _only_bytes(fields, sound.field)
        with _opened(data) as file:
            rate, channels, kind = file.samplerate, file.channels, file.format.lower()
            values = file.read(dtype="float32", always_2d=True)
            if len(values) != file.frames:
                raise ValueError(f"truncated: {len(values)} of {file.frames} samples")
        digest = hashlib.sha256(data).digest()
        return Heard(mono(values.T), rate, channels, kind, digest)
    values, _ = _values(fields, sound, 0, None)
    samples = mono(values.T)
    if not np.isfinite(samples).all():
        raise ValueError("contains NaN or infinite samples, expected finite ones")
    letter = {"i": "s", "u": "u", "f": "f"}[values.dtype.kind]
    codec = f"pcm_{letter}{8 * values.dtype.itemsize}le".replace("8le", "8")
    digest = hashlib.sha256(values.tobytes()).digest()
    return Heard(samples, sound.rate_hz, sound.channels, codec, digest)


def described(fields: dict[str, Any], dataset: Dataset, split: str, number: int) -> dict[str, str]:
    """What is known of an example by column, "path" too; other fields of one value as they are
    called there. An example without an id of text is named by its number in the split."""
    texts = {
        name: found
        for name, value in fields.items()
        if name != dataset.sound.field and (found := _text(value, dataset.labels.get(name)))
    }
    row: dict[str, str] = {}
    for column, names in _FIELDS.items():
        is_there = (n for n in names if n in texts and (column != "id" or _is_text(fields[n])))
        if (name := next(is_there, None)) is not None:
            row[column] = texts.pop(name)
    row = {name: value for name, value in texts.items() if name not in row} | row
    if gender := row.get("gender", dataset.speakers.get(row.get("speaker", ""), "")):
        row["gender"] = GENDERS.get(gender.lower(), gender.lower())
    own = row.pop("id", f"{number:08d}")
    # "#" and digits would be taken for the number of a stretch of a longer recording.
    return row | {"split": split, "path": f"{split}/{own}".replace("#", r"\x23")}


def _text(feature: Any, labels: list[str] | None) -> str:
    """A single value as text, "" if there is none or there are several."""
    kind = _kind(feature)
    if kind == "bytes_list":
        values = feature.bytes_list.value
        return one_line(" ".join(os.fsdecode(values[0]).split())) if len(values) == 1 else ""
    if kind == "float_list":
        raw = feature.float_list.value
        return str(float(np.frombuffer(raw, "<f4")[0])) if len(raw) == 4 else ""
    if kind != "int64_list" or len(raw := feature.int64_list.value) > _LONGEST_VARINT:
        return ""
    numbers = _varints(np.frombuffer(raw, np.uint8)).tolist()
    if len(numbers) != 1:
        return ""
    if labels is None:
        return str(numbers[0])
    number = numbers[0]  # -1 is a label that nobody gave
    return labels[number] if 0 <= number < len(labels) else str(number) if number >= 0 else ""


def _kind(feature: Any) -> str:
    return next((field.name for field, _ in feature.ListFields()), "")


def _is_text(feature: Any) -> bool:
    return _kind(feature) == "bytes_list"


def _only_bytes(fields: dict[str, Any], name: str) -> bytes:
    values: Any = fields[name].bytes_list.value if name in fields else ()
    if len(values) != 1:
        raise ValueError(f"its field {name!r} holds {len(values)} files, expected 1")
    return values[0]


def _opened(data: bytes) -> Any:
    import soundfile

    try:
        return soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string) from error


def _values(
    fields: dict[str, Any], sound: Sound, start: int, stop: int | None
) -> tuple[np.ndarray, int]:
    """Stored samples [n, channels] from `start` to `stop`, and how many there are in all."""
    channels, dtype = sound.channels, np.dtype(sound.dtype).newbyteorder("<")
    first, end = start * channels, None if stop is None else stop * channels
    if sound.stored == "numbers":
        feature, kind = fields.get(sound.field), "float" if dtype.kind == "f" else "int64"
        if feature is None or _kind(feature) != f"{kind}_list":
            raise ValueError(f"its field {sound.field!r} holds no {kind} numbers")
        if dtype.kind == "f":
            values = np.frombuffer(feature.float_list.value, "<f4")
            total, values = len(values), values[first:end]
        else:
            raw = np.frombuffer(feature.int64_list.value, np.uint8)
            ends = np.flatnonzero(raw < 128) + 1
            total = len(ends)
            last = total if end is None else min(end, total)
            edges = np.concatenate([[0], ends])[[min(first, total), last]]
            values = _as(_varints(raw[edges[0] : edges[1]]), dtype)
    else:
        data = _only_bytes(fields, sound.field)
        try:
            whole = np.frombuffer(zlib.decompress(data) if sound.stored == "zlib" else data, dtype)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        total, values = len(whole), _as(whole[first:end], dtype)
    if total % channels:
        raise ValueError(f"{total} values are no samples of {channels} channels")
    return values.reshape(-1, channels), total // channels


def _as(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Whole numbers of a type, int64 being 16 bits."""
    narrow = np.dtype("<i2") if dtype == np.dtype("<i8") else dtype
    if narrow.kind != "f" and len(values):
        limits = np.iinfo(narrow)
        if values.min() < limits.min or values.max() > limits.max:
            raise ValueError(f"samples beyond {8 * narrow.itemsize} bits, which it should have")
    return values.astype(narrow, copy=False)


def _varints(raw: UInt8[np.ndarray, " bytes"]) -> Int[np.ndarray, " n"]:
    """int64 numbers of whole packed ones: 7 bits a byte, the lowest first, the top bit where
    another follows."""
    ends = np.flatnonzero(raw < 128)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    more = ends - starts  # bytes after the first
    if len(more) and more.max() >= _LONGEST_VARINT:
        raise ValueError("a number of more than ten bytes")
    numbers = (raw[starts] & 127).astype(np.uint64)
    for place in range(1, int(more.max(initial=0)) + 1):
        longer = np.flatnonzero(more >= place)
        bits = (raw[starts[longer] + place] & 127).astype(np.uint64)
        numbers[longer] |= bits << np.uint64(7 * place)
    return numbers.view(np.int64)
