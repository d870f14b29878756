"""Files of records, of which token stores and packs are made: ArrayRecord, a JSON beside each.

A shard counts as written once its JSON exists; each file appears by an atomic rename, so a process
killed at any time leaves nothing that looks whole and is not.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from audiolm_jax.artifacts.array_record import DamagedRecordsError, RecordFile
from audiolm_jax.artifacts.atomic import atomic_path, remove_leftovers, write_json
from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.storage import StorageError, each, files_below, is_remote
from audiolm_jax.errors import InputError

_BLOCK_BYTES = 1 << 16  # which the writer of records may still hold when it is closed
OPEN_SHARDS = 64  # of one store at a time, the least recently read closed first

Key = TypeVar("Key")


def shard_counts(items: Mapping[Key, int], shards: int, first: Key) -> dict[Key, int]:
    """How many shards each split gets that has items: `shards` the `first` one, the others their
    share, none more than its items."""
    share = shards / max(1, items[first])
    wanted = {key: shards if key == first else round(share * items[key]) for key in items}
    return {key: min(max(1, wanted[key]), items[key]) for key in items if items[key]}


def summary_path(path: Path) -> Path:
    """The JSON beside a shard."""
    return path.with_name(path.name + ".json")


def read_summary(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The JSON beside a finished shard of the given fingerprint; None if it must be written."""
    try:
        summary = json.loads(summary_path(path).read_text())
        is_right = summary["fingerprint"] == fingerprint and summary["bytes"] == path.stat().st_size
    except StorageError:
        raise
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return summary if is_right else None


def read_summaries(paths: Sequence[Path], fingerprint: str) -> Iterable[dict[str, Any] | None]:
    """`read_summary` of each; in a bucket several at a time."""
    if not (paths and is_remote(paths[0])):
        return (read_summary(path, fingerprint) for path in paths)
    return each(lambda path: read_summary(path, fingerprint), paths)


def remove_unfinished(*paths: Path) -> None:
    """Removes what killed writers of shards left behind, once all are written."""
    remove_leftovers(*paths, *(summary_path(path) for path in paths))


def write_records(path: Path, records: Iterable[bytes], options: str = "") -> dict[str, Any]:
    """Writes records, each reached by its number, whole or not at all; same records, same bytes.
    `options` are further ones of the writer. Returns the file's name, size and SHA-256."""
    from array_record.python.array_record_module import ArrayRecordWriter

    # Two writers on one name would lose records silently: a name of its own, then a rename.
    with atomic_path(path) as scratch:
        writer = ArrayRecordWriter(str(scratch), f"group_size:1{options}")
        try:
            for record in records:
                with ask_disk(path.parent, len(record)):
                    writer.write(record)
        finally:
            with ask_disk(path.parent, _BLOCK_BYTES):
                writer.close()
        return {
            "name": path.name,
            "bytes": scratch.stat().st_size,
            "sha256": file_sha256(scratch),
        }


def write_summary(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Finishes a shard: writes the JSON beside it, `facts`, among them what `write_records`
    returned, its fingerprint and the number of its records. Returns all of it."""
    write_json(summary_path(path), facts, sort_keys=True)
    return facts


def check_shards(
    directory: Path, shards: Iterable[dict[str, Any]], hashes: bool, manifest: str, remedy: str
) -> None:
    """InputError unless all shards have the sizes of a manifest and, if wanted, SHA-256 sums."""
    there = files_below(directory)
    for shard in shards:
        path = directory / shard["name"]
        size = there[shard["name"]].st_size if shard["name"] in there else None
        if size != shard["bytes"]:
            state = "missing" if size is None else f"{size} bytes"
            raise InputError(f"{path}: {state}, expected {shard['bytes']}; {remedy}")
        if hashes and file_sha256(path) != shard["sha256"]:
            raise InputError(f"{path}: content differs from {manifest}; {remedy}")


class ShardReader:
    """Reads single records of many shards, few of them open at a time; from any thread."""

    def __init__(self, remedy: str):
        """`remedy` is what to do about damage, for the messages."""
        self._remedy = remedy
        # Whoever reads a shard keeps it open: a reader closes with the last reference to it.
        self._open = functools.lru_cache(OPEN_SHARDS)(RecordFile)

    def read(self, path: str, number: int, count: int) -> bytes:
        """Record `number` of the `count` that a shard must have; InputError if it is damaged."""
        return self.read_many(path, [number], count)[0]

    def read_many(self, path: str, numbers: Sequence[int], count: int) -> list[bytes]:
        """Several of them; in a bucket together."""
        try:
            reader = self._open(path)
            if (found := reader.num_records()) != count:
                raise InputError(f"{path}: {found} records, expected {count}; {self._remedy}")
            return reader.read_many(numbers)
        except DamagedRecordsError as error:
            raise InputError(f"{path}: cannot be read; {self._remedy}") from error
