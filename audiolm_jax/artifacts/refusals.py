"""What the operating system refuses, and what a user can do about it.

Space, open files and memory are short whatever is being read or written: no file is to blame, and
none may be called damaged or missing for it.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.disk_space import FULL

_FILES, _RIGHTS = {errno.EMFILE, errno.ENFILE}, {errno.EACCES, errno.EPERM, errno.EROFS}
_SILENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN}
_AGAIN = "and give the same command again"


def is_shortage(error: BaseException) -> bool:
    """Whether the machine is short of something, be the file whole or not."""
    is_of_system = isinstance(error, OSError) and error.errno in FULL | _FILES | {errno.ENOMEM}
    return is_of_system or isinstance(error, MemoryError)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def refusal(error: BaseException) -> str | None:
    """Place, reason and remedy in one line, if that is what an error comes of; None otherwise."""
    return next((line for cause in chain(error) if (line := _line(cause))), None)


def of_open_files(error: BaseException) -> str | None:
    """As `refusal`, if no more files could be opened, whatever was made of that."""
    is_it = any(isinstance(x, OSError) and x.errno in _FILES for x in chain(error))
    return refusal(error) if is_it else None


def name_place(error: OSError, place: Path, scratch: Path) -> None:
    """Has a full disk say where: `place`, if the error names nothing, or what is below `scratch`,
    which will be gone."""
    names = [x for x in (error.filename, error.filename2) if x is not None]
    if error.errno in FULL and (not names or Path(str(names[-1])).is_relative_to(scratch)):
        error.filename = str(place)
        if error.filename2 is not None:  # of a copy what is written
            del error.filename2


def _line(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); ask for less at once, or end other programs, {_AGAIN}"
    if not isinstance(error, OSError):
        return None
    reason, where = (
        os.strerror(error.errno or 0),
        "" if error.filename is None else f"{error.filename}: ",
    )
    if error.errno in FULL:
        return f"{where}no space left on the disk ({reason}); make room, {_AGAIN}"
    if error.errno in _FILES:
        return f"{where}{reason}, {_most_open()}; raise ulimit -n, {_AGAIN}"
    if error.errno == errno.ENOMEM:
        return f"{where}not enough memory; ask for less at once, or end other programs, {_AGAIN}"
    if isinstance(error, FileNotFoundError) and (places := _no_temporary_folder()):
        return (
            f"no folder for temporary files can be written ({places}); make room in one, or set "
            f"TMPDIR to one that can, {_AGAIN}"
        )
    if not where:
        return None
    if error.errno in _RIGHTS:
        return f"{where}{reason}; give yourself the right to it, or name another place"
    if error.errno == errno.EISDIR:
        return f"{where}is a folder, expected a file; name another place, or move it away"
    if error.errno == errno.ENOTDIR:
        return f"{where}a part of this path is a file, expected a folder; name another place"
    if error.errno == errno.ENAMETOOLONG:
        short = f"{str(error.filename)[:60]}..."
        return f"{short}: {reason}: 255 bytes at most, and 4095 with its folders; shorten it"
    if error.errno in _SILENT:
        return f"{where}{reason}: its disk or network folder does not answer; mend that, {_AGAIN}"
    return None


def _most_open() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "as many as are allowed"
    return f"of which {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} are allowed"


def _no_temporary_folder() -> str | None:
    """What was tried, where Python finds none; it says so by an error of its own."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        return str(error.strerror).partition("directory found in ")[2] or str(error.strerror)
    return None
