"""Zip archives of folders: written the same to the byte, unpacked with distrust."""

import contextlib
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from audiolm_jax.artifacts.local_copy import local_copy, scratch_folder
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import files_below
from audiolm_jax.errors import InputError

SUFFIX = ".zip"
# All that the standard library raises for archives that are none, cut, changed or encrypted.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(RuntimeError, ValueError, ArithmeticError, LookupError),
)


def pack(folder: Path, archive: Path) -> None:
    """Writes all files below a folder; everything that decides the bytes of an archive is fixed but
    the zlib version."""
    with zipfile.ZipFile(archive, "w") as packed:
        for name in sorted(files_below(folder)):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}")  # of 1980 unless told otherwise
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED, 9)


@contextlib.contextmanager
def unpacked(archive: Path, *wanted: str) -> Iterator[Path]:
    """While the block runs, the folder within an archive that holds a file of a `wanted` name: of
    the first such name, the highest. InputError, and nothing outside a scratch folder is touched,
    for what is no archive, damaged, larger than the space there is, or would be written elsewhere.
    """
    with contextlib.ExitStack() as stack:
        try:
            copy = stack.enter_context(local_copy(archive))
            folder = stack.enter_context(scratch_folder())
            with zipfile.ZipFile(copy) as packed:
                root = _root(archive, packed, wanted)
                _unpack(archive, packed, folder)
        except FileNotFoundError as error:
            if archive.exists():  # then it is the folder to unpack it in
                raise
            raise InputError(f"{archive}: no such file") from error
        except InputError:
            raise
        except OSError as error:
            if is_shortage(error):
                raise
            reason = error.strerror or error
            raise InputError(f"{archive}: cannot be unpacked ({reason})") from error
        except _DAMAGED as error:
            raise InputError(f"{archive}: damaged archive ({error}); copy it again") from error
        yield folder / root


def _root(archive: Path, packed: zipfile.ZipFile, wanted: tuple[str, ...]) -> PurePosixPath:
    places = [PurePosixPath(name) for name in packed.namelist()]
    for name in wanted:
        if roots := [place.parent for place in places if place.name == name]:
            return min(roots, key=lambda root: len(root.parts))
    there = ", ".join(sorted({ascii(place.name)[1:-1] for place in places})[:4]) or "nothing"
    raise InputError(f"{archive}: holds no {' or '.join(wanted)} ({there}); take another archive")


def _unpack(archive: Path, packed: zipfile.ZipFile, folder: Path) -> None:
    seen = set()
    for entry in packed.infolist():
        place = PurePosixPath(entry.filename)
        is_odd = place.is_absolute() or ".." in place.parts or "\\" in entry.filename
        if is_odd or stat.S_ISLNK(entry.external_attr >> 16):
            name = entry.filename.encode("unicode_escape").decode()
            raise InputError(f"{archive}: {name!r} would be unpacked elsewhere; do not trust it")
        if place in seen:
            raise InputError(f"{archive}: holds {entry.filename!r} twice; do not trust it")
        seen.add(place)
    size = sum(entry.file_size for entry in packed.infolist())
    if size > (free := shutil.disk_usage(folder).free):
        space = f"{size / 1e9:.2f} GB, {free / 1e9:.2f} GB are free in {folder.parent}"
        raise InputError(f"{archive}: unpacks to {space}; set AUDIOLM_SCRATCH to a larger place")
    packed.extractall(folder)
