"""What decoding found in each recording of a folder, kept on disk so that it is decoded once.

The index is one Arrow file in the folder itself, or where `AudioDataConfig.index` says. It holds
for as long as no folder has got or lost a file and no list of metadata has changed, of a bucket
until `audiolm index` or `audit` looks at it; then what is
new or of another size or time is decoded, and the rest is taken over. Nothing in it depends on a
config, so one index serves every split, rate and length of clips.
"""

import contextlib
import dataclasses
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audiolm_jax.artifacts.atomic import atomic_path, write_json
from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import at, is_remote
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.audio.names import named, shown
from audiolm_jax.data.file_facts import (
    FACTS,
    PARTS,
    decode,
    is_excluded,
    parts_of,
    read_table,
    size_and_time,
    write_table,
)
from audiolm_jax.data.metadata import OddLines, read_metadata
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tfds.names import is_dataset, place_of
from audiolm_jax.data.walk import BadFile, Walk, walk
from audiolm_jax.data.workers import Worker
from audiolm_jax.errors import InputError

INDEX_FOLDER = ".audiolm_index"
FILES, REMEMBERED = "files.arrow", "remembered.json"

# What is known from the path and from lists; their columns without a name of ours are JSON.
KNOWN = ("speaker", "accent", "language", "gender", "split")
_WORDS = pa.dictionary(pa.int32(), pa.string())
_METADATA = [
    *((name, _WORDS) for name in KNOWN),
    ("text", pa.large_string()),
    ("more", pa.string()),
]
_SCHEMA = pa.schema([*FACTS, *_METADATA])
_AT_ONCE = 1 << 16  # files whose words are in memory together

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FileIndex:
    """The recordings of a folder, sorted by path."""

    columns: dict[str, pa.Array]  # of `_SCHEMA`
    left_out: tuple[BadFile, ...]
    suffixes: tuple[tuple[str, int], ...]  # (suffix, count) of files not audio by name
    odd: tuple[OddLines, ...]  # what could not be read of transcripts and metadata
    undecoded: tuple[str, ...]  # paths as shown, all of them left out by `exclude`
    stamp: str = ""  # of this writing of the index, no other has it
    packed: str | None = None  # of a pack what was done to the sound, "" if nothing; None: no pack

    def __len__(self) -> int:
        return len(self.columns["path"])

    def without(self, *columns: str) -> "FileIndex":
        """All but some columns."""
        kept = {name: values for name, values in self.columns.items() if name not in columns}
        return dataclasses.replace(self, columns=kept)

    def texts(self, column: str) -> Iterator[str]:
        """A column of text, of which few entries are in memory at once."""
        values = self.columns[column]
        for first in range(0, len(values), _AT_ONCE):
            yield from values.slice(first, _AT_ONCE).to_pylist()

    def numbers(self, column: str) -> np.ndarray:
        """A column of numbers [files], without a copy."""
        return self.columns[column].to_numpy()

    def value(self, column: str, row: int) -> Any:
        """One entry."""
        return self.columns[column][row].as_py()

    def words(self, column: str) -> tuple[np.ndarray, list[str]]:
        """Codes [files] and what they stand for."""
        values = self.columns[column]
        return values.indices.to_numpy(), values.dictionary.to_pylist()

    def is_given(self, column: str) -> np.ndarray:
        """Whether a column of text is not "", bool [files]."""
        values = self.columns[column]
        if isinstance(values, pa.DictionaryArray):
            values = values.dictionary_decode()
        return np.diff(_offsets(values)) > 0

    def row(self, number: int) -> dict[str, str]:
        """What is known of a file, by column of the lists; "" and what is missing mean the same."""
        row = {name: self.value(name, number) for name in (*KNOWN, "text")}
        return row | json.loads(self.value("more", number) or "{}")

    def noted(self) -> np.ndarray:
        """Rows of files about which there is something to say."""
        return np.flatnonzero(np.diff(_offsets(self.columns["notes"])))

    @property
    def digests(self) -> np.ndarray:
        """The first eight bytes of each SHA-256, uint64 [files]."""
        values = self.columns["sha256"]
        raw = np.frombuffer(values.buffers()[1], ">u8").reshape(-1, 4)
        return raw[values.offset : values.offset + len(values), 0].astype(np.uint64)


def _offsets(values: pa.Array) -> np.ndarray:
    """Where each text or list begins, and the end."""
    is_wide = pa.types.is_large_string(values.type)
    offsets = np.frombuffer(values.buffers()[1], np.int64 if is_wide else np.int32)
    return offsets[values.offset : values.offset + len(values) + 1]


def index_place(config: AudioDataConfig) -> Path:
    """The folder of the index."""
    if config.index:
        return at(config.index)
    if is_outside(config.source):
        import platformdirs

        return platformdirs.user_cache_path("audiolm_jax") / "corpora" / fingerprint(config.source)
    source = place_of(config.source).folder if is_dataset(config.source) else at(config.source)
    return source / INDEX_FOLDER


def open_files(config: AudioDataConfig, looks_at_all: bool = False) -> FileIndex:
    """The index of `source`, brought up to date; InputError if there is no audio by name. That a
    file was changed in its place is seen only if it `looks_at_all`, or when the file is read."""
    root, place = at(config.source), index_place(config)
    if not root.is_dir():
        raise InputError(f"--data.source = {config.source}: no such folder")
    old = read_table(place / FILES)
    if old is not None and not looks_at_all and _is_current(root, old, config):
        return opened_table(old)
    folder = walk(root, FORMATS)
    if not folder.wanted and not folder.left_out:
        raise InputError(
            f"--data.source = {config.source}: no audio among {len(folder.others)} files; "
            f"expected files ending in {' '.join(sorted(FORMATS))}"
        )
    if not (is_remote(place) or place.exists()):
        with contextlib.suppress(OSError):
            place.mkdir(parents=True)
            folder = walk(root, FORMATS)  # whose time may be another now
    facts, undecoded = decode(root, folder, place, old, config.exclude)
    table = _with_metadata(root, folder, facts, undecoded)
    if old is not None and old.equals(table) and _about(old) == _about(table):
        return opened_table(old)
    return kept(config, table)


def kept(config: AudioDataConfig, table: pa.Table) -> FileIndex:
    """What a table holds, once it is written where the index lies, if that can be done."""
    place = index_place(config)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with atomic_path(place / FILES) as scratch:
            write_table(scratch, table)
    except OSError as error:
        if config.index is not None and is_shortage(error):
            raise
        if config.index is not None:
            raise InputError(f"--data.index = {place}: cannot be written: {error}") from error
        logger.warning(
            f"{place}: cannot be written ({error.strerror or error}): every command will read all "
            "recordings again; name a folder for the index with --data.index"
        )
        return opened_table(table)
    for part in parts_of(place):
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (place / PARTS).rmdir()
    return opened_table(table)


def index_share(config: AudioDataConfig, worker: Worker) -> int:
    """Decodes a worker's share of the files that the index lacks, and keeps what it found for
    whoever opens the index next; returns how many files it is answerable for."""
    root, place = at(config.source), index_place(config)
    if not root.is_dir():
        raise InputError(f"--data.source = {config.source}: no such folder")
    folder, old = walk(root, FORMATS), read_table(place / FILES)
    own = dataclasses.replace(folder, wanted=[*worker.share(folder.wanted)])
    try:
        facts, _ = decode(root, own, place, old, config.exclude, keeps_parts=True)
    except OSError as error:
        if is_shortage(error):
            raise
        raise InputError(f"--data.index = {place}: cannot be written: {error}") from error
    return len(facts)


def remembered(config: AudioDataConfig, stamp: str, key: str, compute: Callable[[], str]) -> str:
    """What was computed before from the index of this stamp under a key, or is now; kept beside the
    index if it can be."""
    path = index_place(config) / REMEMBERED
    values: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none, or damaged
        known = json.loads(path.read_text())
        values = dict(known["values"]) if known["stamp"] == stamp else {}
    if key not in values:
        values[key] = compute()
        with contextlib.suppress(OSError):
            write_json(path, {"stamp": stamp, "values": values})
    return values[key]


def with_about(about: dict[str, Any], stamp: str | None = None) -> pa.Schema:
    """The schema of an index written now, with what proves that it holds."""
    words = {"about": json.dumps(about), "stamp": stamp or uuid.uuid4().hex}
    return _SCHEMA.with_metadata(
        FACTS.metadata | {k.encode(): v.encode() for k, v in words.items()}
    )


def _about(table: pa.Table) -> dict[str, Any]:
    return json.loads(table.schema.metadata[b"about"])


def table_of(files: FileIndex, stamp: str) -> pa.Table:
    """The table of an index that holds for ever, the same bytes however the index came to be."""
    columns = []
    for field in _SCHEMA:
        values = files.columns[field.name]
        if isinstance(values, pa.DictionaryArray):
            values = values.dictionary_decode().dictionary_encode()
        columns.append(pa.array([0] * len(files), pa.int64()) if field.name == "time" else values)
    about = about_of(files.left_out, files.suffixes, files.odd, files.undecoded)
    return pa.table(columns, schema=with_about(about | {"folders": {}, "lists": []}, stamp))


def in_schema(table: pa.Table, about: dict[str, Any], *more: pa.Field) -> pa.Table:
    """Rows whose columns are those of an index, words spelled out, and `more`; as one written
    now."""
    schema = pa.schema([*_SCHEMA, *more], with_about(about).metadata)
    columns = []
    for field in schema:
        column = table[field.name].combine_chunks()
        is_spelled_out = pa.types.is_dictionary(field.type) and column.type != field.type
        columns.append(column.dictionary_encode() if is_spelled_out else column)
    return pa.table(columns, schema=schema)


def about_of(
    left_out: Sequence[BadFile],
    suffixes: Sequence[tuple[str, int]],
    odd: Sequence[OddLines],
    undecoded: Sequence[str],
) -> dict[str, Any]:
    """What an index tells beside its rows."""
    return {
        "left_out": [dataclasses.astuple(bad) for bad in left_out],
        "suffixes": suffixes,
        "odd": [dataclasses.asdict(lines) for lines in odd],
        "undecoded": undecoded,
    }


def in_one_piece(table: pa.Table) -> dict[str, pa.Array]:
    """Columns, without a copy if they are in one piece; codes of words as narrow as can be."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(whole, pa.DictionaryArray):
            codes = pa.array(narrow(whole.indices.to_numpy(), np.int8))
            whole = pa.DictionaryArray.from_arrays(codes, whole.dictionary)
        columns[name] = whole
    return columns


def narrow(numbers: np.ndarray, smallest: type[np.signedinteger]) -> np.ndarray:
    """The same whole numbers in the narrowest type from `smallest` on that holds them."""
    least, most = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    ranges = (np.iinfo(kind) for kind in (np.int8, np.int16, np.int32, np.int64))
    wide = (x for x in ranges if x.bits >= np.iinfo(smallest).bits)
    fitting = next(x for x in wide if x.min <= least and most <= x.max)
    return numbers.astype(fitting.dtype, copy=False)


def opened_table(table: pa.Table) -> FileIndex:
    """What a table holds."""
    about = _about(table)
    return FileIndex(
        in_one_piece(table),
        tuple(BadFile(*entry) for entry in about["left_out"]),
        tuple((suffix, count) for suffix, count in about["suffixes"]),
        tuple(OddLines(**entry) for entry in about["odd"]),
        tuple(about["undecoded"]),
        table.schema.metadata[b"stamp"].decode(),
    )


def _is_current(root: Path, table: pa.Table, config: AudioDataConfig) -> bool:
    """Whether no folder or list has changed and nothing is asked for that was left out. Of a bucket
    nobody can tell without listing it, so there it holds."""
    about = _about(table)
    try:
        for name, changed in about["folders"].items():
            if (root / named(name)).stat().st_mtime_ns != changed:
                return False
        for name, size, changed in () if is_remote(root) else about["lists"]:
            status = (root / named(name)).stat()
            if (status.st_size, status.st_mtime_ns) != (size, changed):
                return False
    except OSError:
        return False
    return all(is_excluded(path, config.exclude) for path in about["undecoded"])


def _with_metadata(root: Path, folder: Walk, facts: pa.Table, undecoded: Sequence[str]) -> pa.Table:
    """The facts with what is known beside them, and with what proves that they still hold."""
    metadata = read_metadata(root, folder.wanted, folder.others)
    rows = [metadata.rows[named(path)] for path in facts["path"].to_pylist()]
    columns: list[pa.Array] = list(facts.columns)
    for name in KNOWN:
        values = [shown(row.get(name, "")) for row in rows]
        columns.append(pa.array(values, pa.string()).dictionary_encode())
    columns.append(pa.array([row.get("text", "") for row in rows], pa.large_string()))
    ours = {*KNOWN, "text"}
    more = [{key: value for key, value in row.items() if key not in ours} for row in rows]
    columns.append(pa.array([json.dumps(row) if row else "" for row in more], pa.string()))
    lists = [
        (shown(name), *found)
        for name in sorted(metadata.lists)
        if (found := size_and_time(root, name, folder.states))
    ]
    about = about_of(folder.left_out, folder.suffixes, metadata.odd, undecoded)
    return pa.table(columns, schema=with_about({"folders": folder.times, "lists": lists} | about))
