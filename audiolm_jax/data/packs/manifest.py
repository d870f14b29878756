"""What lies in the folder of a pack beside its shards, and the one file that makes it a pack."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.errors import InputError

PACK = "PACK.json"
UNFINISHED = "PACK.unfinished.json"  # the fingerprint of a pack whose shards are being written
FORMAT_VERSION = 1
REMEDY = "pack again"
# Both sorted alike: by path, and the records of a file by place.
FILES, RECORDS = "files.arrow", "records.arrow"
# One row a record: which samples of which file it holds, at the rate of the pack, and where it is.
RECORD_COLUMNS = pa.schema(
    [
        ("file", pa.int32()),  # row of FILES
        ("start", pa.int64()),
        ("samples", pa.int64()),
        ("shard", pa.int32()),  # number among all shards in the order of the manifest
        ("position", pa.int32()),
        ("encoding", pa.dictionary(pa.int8(), pa.string())),
        ("bytes", pa.int64()),  # of the sound
    ],
    {b"format": b"1"},
)


def write_manifest(directory: Path, facts: Mapping[str, Any]) -> None:
    """Writes PACK.json, with the size and hash of each table and a checksum of its own."""
    tables = {
        name: {"bytes": (directory / name).stat().st_size, "sha256": file_sha256(directory / name)}
        for name in (FILES, RECORDS)
    }
    whole = {**facts, "format_version": FORMAT_VERSION, "tables": tables}
    write_json(directory / PACK, whole | {"checksum": fingerprint(whole)}, sort_keys=True)


def read_manifest(directory: Path) -> dict[str, Any]:
    """PACK.json; InputError if it is damaged, or of another version."""
    path = directory / PACK
    try:
        manifest = json.loads(path.read_text())
        checksum = manifest.pop("checksum")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged: {error!r}; delete it and {REMEDY}") from error
    if checksum != fingerprint(manifest):
        raise InputError(f"{path}: damaged: its checksum is another; delete it and {REMEDY}")
    if manifest["format_version"] != FORMAT_VERSION:
        raise InputError(f"{path}: format_version {manifest['format_version']}; {REMEDY}")
    return manifest
