"""A disk that is full, a quota that is used up, a limit on file sizes: the disk itself says so."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def ask_disk(folder: Path, size: int) -> Iterator[None]:
    """Gives a failure to write its reason where a library's exception carries no errno: an OSError
    takes its place if `folder` does not take the `size` bytes that the block writes. What it has
    written is still there, so a disk that was too full for it is too full now."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        try:
            _reserve(folder, max(size, 1))
        except OSError as answer:
            if answer.errno in FULL:
                raise answer from error
        raise


def _reserve(folder: Path, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, size)
    elif shutil.disk_usage(folder).free < size:  # macOS, Windows; says nothing of quotas
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
