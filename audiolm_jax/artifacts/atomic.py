"""Files and folders that appear whole or not at all, whatever ends the process."""

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.refusals import name_place
from audiolm_jax.artifacts.storage import BucketPath, upload


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A scratch name beside `path` for a file or folder that replaces `path` in one rename, once
    the block ends and its bytes are on the disk; if the block fails, `path` stays as it was. Parent
    folders are made. A folder that is replaced is gone between two renames, never a mixture. Of an
    address the scratch name lies on this machine and is uploaded: a folder's JSON, which says that
    it is whole, at last."""
    if isinstance(path, BucketPath):
        with scratch_folder() as folder:
            yield folder / path.name
            upload(folder / path.name, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Ends as the path does: some writers choose their format, or add a suffix, by the name. Of a
    # long name the end alone, for names have 255 bytes at most.
    scratch = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name[-40:]}")
    try:
        yield scratch
        _sync(scratch)
        if path.is_dir() and not path.is_symlink():
            replaced = path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name[-40:]}")
            os.replace(path, replaced)
            os.replace(scratch, path)
            shutil.rmtree(replaced)
        else:
            os.replace(scratch, path)
    except OSError as error:
        name_place(error, path, scratch)
        raise
    finally:
        if scratch.is_dir():
            _remove(scratch)
        else:
            scratch.unlink(missing_ok=True)


def remove_leftovers(*paths: Path) -> None:
    """Removes what killed writers of files left beside them; for who alone writes them now."""
    left: dict[Path, set[str]] = {}
    for path in paths:
        if not isinstance(path, BucketPath):  # beside an object nothing is written
            left.setdefault(path.parent, set()).add(path.name[-40:])
    for folder, names in left.items():
        for leftover in folder.glob(".????????????.*"):  # as `atomic_path` calls them
            if leftover.name[14:] in names:
                leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file whole or not at all."""
    if isinstance(path, BucketPath):
        path.write_bytes(text.encode())
        return
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, sort_keys: bool = False) -> None:
    """Writes JSON, indented by one space, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=sort_keys) + "\n")


def _remove(folder: Path) -> None:
    """With one file open at a time: there may be no more."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()


def _sync(path: Path) -> None:
    """A rename may reach the disk before the bytes of what it renames: these go first."""
    for file in [path] if path.is_file() else [x for x in path.rglob("*") if x.is_file()]:
        with file.open("rb" if os.name == "posix" else "r+b") as handle:
            os.fsync(handle.fileno())
