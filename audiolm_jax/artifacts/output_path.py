"""Whether a file or folder can be written, asked before the work and not after it."""

import os
import shutil
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path

from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import BucketPath
from audiolm_jax.errors import InputError


def check_output_file(
    path: Path, sources: Iterable[Path] = (), size: int = 0, where: str = "--out"
) -> None:
    """InputError unless a file of `size` bytes can be put here that is none of its own sources.

    A file that is there would be replaced. The folder it goes to may be missing, that folder's own
    may not. Nothing is left behind. Of an address only the name is looked at.
    """
    named = f"{where} {path}"
    if not path.name or path.name in (".", ".."):
        raise InputError(f"{named}: names no file; add one")
    if isinstance(path, BucketPath):
        return
    there = _status(path, named)
    for source in sources:
        if not isinstance(source, BucketPath) and _is_same(path, source):
            raise InputError(f"{named}: is the prompt {source} itself; choose another name")
    if there is not None:
        if stat.S_ISDIR(there.st_mode):
            raise InputError(f"{named}: is a folder; add a file name")
        if not stat.S_ISREG(there.st_mode):
            raise InputError(f"{named}: is a pipe or device; choose a file")
        if not os.access(path, os.W_OK):
            raise InputError(f"{named}: is protected against writing; choose another name")
    _check_folder(path.parent, named, size)


def check_output_folder(path: Path, size: int = 0, where: str = "--out") -> None:
    """InputError unless files of `size` bytes in all can be put into this folder, which may be
    missing, unlike its own."""
    if isinstance(path, BucketPath):
        return
    named = f"{where} {path}"
    there = _status(path, named)
    if there is not None and not stat.S_ISDIR(there.st_mode):
        raise InputError(f"{named}: is a file, expected a folder; choose another name")
    _check_folder(path, named, size)


def check_replaced_folder(path: Path, mark: str, where: str = "--out") -> None:
    """InputError unless a folder can be put here in place of all that is there: nothing, an empty
    folder, or one that holds a file `mark` as all of its kind do."""
    named = f"{where} {path}"
    if isinstance(path, BucketPath) or _status(path, named) is not None:
        if path.exists() and not path.is_dir():
            raise InputError(f"{named}: is a file, expected a folder; choose another name")
        if path.is_dir() and not (path / mark).is_file() and any(path.iterdir()):
            held = "would be replaced, but holds other files"
            raise InputError(f"{named}: {held} (no {mark}); name a new folder")


def _status(path: Path, named: str) -> os.stat_result | None:
    """None where nothing is yet, also at the end of a link to nothing."""
    if "\0" in str(path):
        raise InputError(f"{named}: holds a zero byte; choose another name")
    try:
        if path.name:  # the scratch name beside it may be longer than its own
            path.with_name(f"{'.' * 14}{path.name[-40:]}").lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refused(named, error) from error
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:  # a name too long, a file where a folder should be, a ring of links
        raise _refused(named, error) from error


def _is_same(path: Path, source: Path) -> bool:
    """By whatever names, also if neither is there."""
    try:
        return path.samefile(source)
    except OSError:
        return os.path.realpath(path) == os.path.realpath(source)


def _check_folder(folder: Path, named: str, size: int) -> None:
    parent = folder
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise InputError(f"{named}: {folder} is no folder; choose another place")
        parent = folder.parent
        if not parent.is_dir():
            raise InputError(f"{named}: there is no folder {parent}; make it, or mend the name")
    try:
        # Some folders, as those of /proc, take a right to write and then no file.
        probe = parent / f".{uuid.uuid4().hex[:12]}.probe"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise _refused(named, error) from error
    if size and (free := shutil.disk_usage(parent).free) < size:
        needs = f"{size:,} bytes are needed, {free:,} are free"
        raise InputError(f"{named}: {needs}; make room, or ask for less")


def _refused(named: str, error: OSError) -> InputError:
    if is_shortage(error):
        raise error
    return InputError(f"{named}: cannot be written ({error.strerror}); choose another place")
