"""What a prepared dataset of TFDS holds: its one kind of sound, its other fields and its files."""

import dataclasses
import fnmatch
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.audio.names import shown
from audiolm_jax.data.packs.manifest import PACK
from audiolm_jax.data.tfds.names import FEATURES, INFO, place_of
from audiolm_jax.errors import InputError

FORMAT = "array_record"
_INDEX_VERSION = 1  # of what is worked out of the files
_RATES_HZ = (4_000, 768_000)
_DTYPES = ("uint8", "int16", "int32", "int64", "float32")


@dataclasses.dataclass(frozen=True)
class Sound:
    """How the sound of an example is stored."""

    field: str  # "/" between the names of nested fields
    stored: Literal["numbers", "bytes", "zlib", "file"]
    dtype: str  # of its samples; int64 stands for 16 bits, as TFDS decodes files
    channels: int  # this and the rate are the file's own for "file"
    rate_hz: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of examples."""

    split: str
    path: str
    first: int  # number of its first example in the dataset
    count: int
    size: int


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Splits by name, one after the other; examples are numbered through all of them."""

    title: str  # for people
    folder: Path
    sound: Sound
    labels: dict[str, list[str]]  # of each field of labels, what its numbers stand for
    speakers: dict[str, str]  # male and female ones, where the dataset has a list
    shards: tuple[Shard, ...]
    mark: str  # changes with the name, the version and the files

    @property
    def splits(self) -> dict[str, range]:
        """The examples of each."""
        found: dict[str, range] = {}
        for shard in self.shards:
            first = found[shard.split].start if shard.split in found else shard.first
            found[shard.split] = range(first, shard.first + shard.count)
        return found


def read_dataset(source: str) -> Dataset:
    """What a name or folder holds; InputError if it is none that is read here."""
    place = place_of(source)
    folder = place.folder
    if (folder / PACK).is_file():
        raise InputError(
            f"--data.source = {shown(source)}: a pack; name its folder, --data.source "
            f"{shown(folder)}"
        )
    info = _json(folder / INFO)
    try:
        features = list(_flat(_json(folder / FEATURES)))
        sound = _sound(folder, features, place.sample_rate_hz)
        splits = sorted(info["splits"], key=lambda split: split["name"])
        shards = tuple(_shards(folder, info, splits))
        title = "/".join(info[key] for key in ("name", "configName", "version") if info.get(key))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shown(folder)}: {INFO} or {FEATURES} is not what TFDS 4 writes ({error!r}); prepare "
            "the dataset again with a recent one"
        ) from error
    labels = {
        name: _lines(folder / f"{name.replace('/', '-')}.labels.txt")
        for name, kind, _ in features
        if kind == "classLabel"
    }
    files = [(os.path.basename(shard.path), shard.size) for shard in shards]
    lists = [file_sha256(folder / FEATURES), labels]
    mark = fingerprint([_INDEX_VERSION, title, lists, place.sample_rate_hz, files])
    return Dataset(title, folder, sound, labels, _speakers(folder), shards, mark)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)}: cannot be read: {error}") from error


def _flat(feature: Any, name: str = "") -> Iterator[tuple[str, str, Any]]:
    """(name, kind, what is said of it) of the fields that lie in no sequence."""
    (kind,) = feature.keys() - {"pythonClassName", "description"}
    if kind != "featuresDict":
        yield name, kind, feature[kind]
        return
    for key, inner in feature[kind]["features"].items():
        yield from _flat(inner, f"{name}/{key}" if name else key)


def _sound(folder: Path, features: list[tuple[str, str, Any]], given_hz: int | None) -> Sound:
    found = [(name, content) for name, kind, content in features if kind == "audio"]
    if len(found) != 1:
        names = ", ".join(name for name, _ in found) or "none"
        raise InputError(
            f"{shown(folder)}: expected exactly one Audio feature outside of sequences, found "
            f"{names}; write what you need of it as a dataset or a folder of its own"
        )
    ((name, content),) = found
    dtype, encoding = content["dtype"], content.get("encoding", "none").lower()
    dimensions = [int(n) for n in content["shape"]["dimensions"]]
    if content.get("lazyDecode"):
        stored, kind = "file", content.get("fileFormat", "none")
        is_known = kind in ("flac", "wav")
    else:
        stored, kind = {"none": "numbers"}.get(encoding, encoding), dtype
        is_known = dtype in _DTYPES and stored in ("numbers", "bytes", "zlib")
    if not is_known or len(dimensions) > 2:
        raise InputError(
            f"{shown(folder)}: sound kept as {kind} {dimensions} is not read; prepare it with flac "
            f"or wav files, or samples of {', '.join(_DTYPES)}"
        )
    rate = given_hz or int(content.get("sampleRate", 0))
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1] and stored != "file":
        raise InputError(
            f"{shown(folder)}: its field {name} is of {rate or 'no known'} Hz; name the rate as in "
            "--data.source tfds:NAME/CONFIG/sample_rate=48000"
        )
    channels = dimensions[1] if len(dimensions) == 2 else 1
    return Sound(name, stored, dtype, channels, rate)  # type: ignore[arg-type]


def _shards(folder: Path, info: Any, splits: list[Any]) -> Iterator[Shard]:
    first = 0
    for split in splits:
        counts = [int(count) for count in split["shardLengths"]]
        template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        width = max(5, len(str(len(counts))))
        for number, count in enumerate(counts):
            index, total = f"{number:0{width}}", f"{len(counts):0{width}}"
            name = template.format(
                DATASET=info["name"], SPLIT=split["name"], FILEFORMAT=FORMAT,
                SHARD_INDEX=index, NUM_SHARDS=total, SHARD_X_OF_Y=f"{index}-of-{total}",
            )  # fmt: skip
            path = folder / name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise _missing(folder, info, path, error) from error
            if count:
                yield Shard(split["name"], str(path), first, count, size)
            first += count
    if not first:
        raise InputError(f"{shown(folder)}: a dataset without examples")


def _missing(folder: Path, info: Any, path: Path, error: OSError) -> InputError:
    if (kind := info.get("fileFormat", "tfrecord")) == FORMAT:
        return InputError(f"{shown(path)}: {error.strerror}; prepare the dataset again")
    return InputError(
        f"{shown(folder)}: prepared as {kind}, which cannot be read at random places; python -c "
        '"from tensorflow_datasets.scripts.cli.convert_format_utils import convert_dataset; '
        f"convert_dataset(None, '{FORMAT}', dataset_version_dir='{shown(folder)}')\" adds what can"
    )


def _lines(path: Path) -> list[str]:
    """Labels; without a list their numbers stand for themselves."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [line.strip() for line in re.split("\r?\n", text) if line.strip()]


def _speakers(folder: Path) -> dict[str, str]:
    """By speaker, from the list that LibriSpeech and LibriTTS bring along."""
    try:
        listed = json.loads((folder / "metadata.json").read_text())["speakers"]
        return {str(who): str(facts["gender"]) for who, facts in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def split_is_left_out(split: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern leaves out whatever a split may hold: it ends in "*", which is all that is
    left of it after the name."""
    return any(p.endswith("*") and fnmatch.fnmatchcase(f"{split}/", p) for p in patterns)
