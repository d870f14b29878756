"""The kernel's lock on an open file, which ends with its process: flock, or on Windows the lock of
one byte, far behind all that is written."""

import contextlib
import importlib
import os
from typing import Any, TextIO

try:
    fcntl: Any = importlib.import_module("fcntl")
except ModuleNotFoundError:
    fcntl = None
    msvcrt: Any = importlib.import_module("msvcrt")

_FAR = 1 << 30


def lock(file: TextIO) -> None:
    """Locks a file for this process alone; BlockingIOError at once if another holds it, any other
    OSError where the file system has no locks."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    descriptor = file.fileno()
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, "locked by another process") from error
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)


def remove(file: TextIO) -> None:
    """Closes a locked file and removes it: before its lock ends, where an open file can be removed.
    It may be gone."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(file.name)
        except PermissionError:  # Windows: not while it is open
            file.close()
            with contextlib.suppress(PermissionError):  # the next one has it already
                os.unlink(file.name)
    file.close()
