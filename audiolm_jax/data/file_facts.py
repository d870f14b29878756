"""What decoding tells of the recordings of a folder: done on threads, saved now and then, and taken
over for files that have not changed."""

import contextlib
import fnmatch
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.local_copy import forget, local_copy
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import StorageError
from audiolm_jax.audio.files import iter_audio, probe
from audiolm_jax.audio.names import named, shown
from audiolm_jax.data.walk import Walk
from audiolm_jax.errors import InputError

PARTS = "parts"
_SAVE_SECONDS, _TELL_SECONDS = 60.0, 10.0
_FILES_A_THREAD = 16  # decoded between two looks at the clock

# What decoding tells. `reason` is why a file cannot be used, "" if it can.
FACTS = pa.schema(
    [
        ("path", pa.string()),  # relative to the folder, as `audio.names` shows it
        ("size", pa.int64()),
        ("time", pa.int64()),  # of the last change, nanoseconds
        ("reason", pa.string()),
        ("samples", pa.int64()),
        ("rate_hz", pa.int32()),
        ("channels", pa.int16()),
        ("codec", pa.dictionary(pa.int32(), pa.string())),
        ("sha256", pa.binary(32)),
        ("energy", pa.float64()),  # sum of squares
        ("notes", pa.list_(pa.string())),
    ],
    {b"format": b"1"},
)
_FORMAT = b"1"  # that is read

logger = logging.getLogger(__name__)


def is_excluded(path: str, patterns: Sequence[str]) -> str:
    """The first pattern that leaves out a path, as shown; "" if none does."""
    name = named(path)
    for pattern in patterns:
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(path, pattern):
            return pattern
    return ""


def read_table(path: Path) -> pa.Table | None:
    """A table that was written by this format; None, and a warning, if there is another, or damage.
    Read as a whole: what is mapped would take the process along if it vanished from a network
    folder. Column by column: each is freed by itself, and packed bytes of one are held at most."""
    try:
        with local_copy(path) as copy, pa.OSFile(os.fspath(copy)) as file:
            schema, columns = pa.ipc.open_file(file).schema, []
            for number in range(len(schema)):
                options = pa.ipc.IpcReadOptions(included_fields=[number])
                columns.append(pa.ipc.open_file(file, options=options).read_all().column(0))
                pa.default_memory_pool().release_unused()
            table = pa.Table.from_arrays(columns, schema=schema)
    except FileNotFoundError:
        return None
    except StorageError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        if is_shortage(error):
            raise
        logger.warning(f"{shown(path)}: no index ({error}); made anew")
        return None
    if (table.schema.metadata or {}).get(b"format") != _FORMAT:
        logger.warning(f"{shown(path)}: index of another version; made anew")
        return None
    return table


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table in one piece, compressed, so that `read_table` holds each column by itself."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        pa.OSFile(os.fspath(path), "wb") as file,
        pa.ipc.new_file(file, table.schema, options=options) as writer,
    ):
        writer.write_table(table.combine_chunks())


def decode(
    root: Path,
    folder: Walk,
    place: Path,
    old: pa.Table | None,
    exclude: Sequence[str],
    keeps_parts: bool = False,
) -> tuple[pa.Table, list[str]]:
    """The facts of what is wanted of a folder, those unchanged taken over from `old` and from parts
    that an earlier run left in `place`; and the paths that were not decoded because of `exclude`.
    What is new is saved as parts now and then, with `keeps_parts` all of it."""
    names = {shown(name): name for name in folder.wanted}
    parts = [read_table(path) for path in parts_of(place)]
    there = [t.select(FACTS.names) for t in (old, *parts) if t is not None]
    known = pa.concat_tables([FACTS.empty_table(), *there])
    sizes, times = known["size"].to_pylist(), known["time"].to_pylist()
    row_of = {path: row for row, path in enumerate(known["path"].to_pylist())}
    kept: list[int] = []
    todo: list[str] = []
    undecoded: list[str] = []
    for path, name in names.items():
        row = row_of.get(path)
        known_as = None if row is None else (sizes[row], times[row])
        if row is not None and size_and_time(root, name, folder.states) == known_as:
            kept.append(row)
        elif is_excluded(path, exclude):
            undecoded.append(path)
        else:
            todo.append(name)
    with Saver(place, len(todo)) as saver:
        threads = os.cpu_count() or 1
        pool = ThreadPoolExecutor(threads)  # FFmpeg and hashing release the interpreter lock
        try:
            size = threads * _FILES_A_THREAD
            for first in range(0, len(todo), size):
                batch = todo[first : first + size]
                saver.add(list(pool.map(lambda name: _file(root, name), batch)))
        finally:  # who is stopped waits for no file
            pool.shutdown(wait=False, cancel_futures=True)
    if keeps_parts:
        saver.save(is_needed=True)
    facts = pa.concat_tables([known.take(pa.array(kept, pa.int64())), *saver.tables])
    return facts.sort_by("path").combine_chunks(), undecoded


class Saver:
    """Keeps what was decoded, as parts on disk if it takes long, and tells how far it is; a context
    whose end saves what an error would lose."""

    def __init__(self, place: Path, total: int, schema: pa.Schema = FACTS, things: str = "files"):
        """`total` things in rows of `schema`, with the columns of `FACTS` at least."""
        self.tables: list[pa.Table] = []
        self._place, self._total, self._schema, self._things = place, total, schema, things
        self._unsaved: list[pa.Table] = []
        self._done, self._seconds = 0, 0.0
        self._begun = self._saved = self._told = time.monotonic()

    def add(self, rows: list[dict[str, Any]]) -> None:
        """What was found of some more."""
        table = pa.Table.from_pylist(rows, self._schema)
        self.tables.append(table)
        self._unsaved.append(table)
        self._done += len(rows)
        self._seconds += sum(row["samples"] / row["rate_hz"] for row in rows if row["rate_hz"])
        now = time.monotonic()
        if now - self._saved > _SAVE_SECONDS:
            self.save()
        if now - self._told > _TELL_SECONDS:
            self._told, speed = now, self._seconds / (now - self._begun)
            left = (now - self._begun) * (self._total / self._done - 1)
            logger.info(
                f"index: {self._done:,} of {self._total:,} {self._things}, "
                f"{self._seconds / 3600:.2f} h of audio at {speed:,.0f} x real time, "
                f"{left / 60:.0f} min left"
            )

    def save(self, is_needed: bool = False) -> None:
        """What is in no part yet; if it is not needed, no part that cannot be written is missed."""
        if self._unsaved:
            with contextlib.nullcontext() if is_needed else contextlib.suppress(OSError):
                path = self._place / PARTS / f"{uuid.uuid4().hex[:12]}.arrow"
                with atomic_path(path) as scratch:
                    write_table(scratch, pa.concat_tables(self._unsaved))
                self._unsaved.clear()
        self._saved = time.monotonic()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *error: object) -> None:
        if self._done < self._total:
            self.save()


def parts_of(place: Path) -> list[Path]:
    """What was decoded and is in no index yet."""
    return sorted((place / PARTS).glob("[0-9a-f]*.arrow"))


def size_and_time(
    root: Path, name: str, known: Mapping[str, tuple[int, int]] | None = None
) -> tuple[int, int] | None:
    """Bytes of a file and the time of its last change, if they are not `known`; None if there is
    none."""
    if known is not None:
        return known.get(name)
    try:
        status = (root / name).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _file(root: Path, name: str) -> dict[str, Any]:
    """The facts of a file, decoded to its end, as headers prove nothing."""
    path, text = root / name, shown(name)
    facts: dict[str, Any] = {"path": text, "size": 0, "time": 0, "reason": ""}
    facts |= {"samples": 0, "rate_hz": 0, "channels": 0, "codec": "", "energy": 0.0, "notes": []}
    facts["sha256"] = bytes(32)
    try:
        forget(path)
        with local_copy(path, is_kept=True) as copy:
            _decode_into(facts, path, copy)
    except InputError as error:
        if isinstance(error, StorageError):  # says nothing of the file
            raise
        facts["reason"] = str(error).removeprefix(f"{shown(path)}: ")
    except OSError as error:
        if is_shortage(error):
            raise
        facts["reason"] = f"cannot be read: {error.strerror}"
    return facts


def _decode_into(facts: dict[str, Any], path: Path, copy: Path) -> None:
    facts["size"], facts["time"] = size_and_time(copy.parent, copy.name) or (0, 0)
    info = probe(path)
    facts |= {"rate_hz": info.sample_rate_hz, "channels": info.channels, "codec": info.codec}
    for block, _ in iter_audio(path, notes=facts["notes"]):
        facts["samples"] += len(block)
        facts["energy"] += float(np.dot(block, block))
    facts["sha256"] = bytes.fromhex(file_sha256(copy))
