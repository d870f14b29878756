"""A Python that lacks what Windows lacks, as far as this package is concerned; used in a process of
its own: `become_windows()`, before the package is imported."""

import fcntl
import importlib
import os
import pathlib
import subprocess  # noqa: F401  the standard library's own is to stay one of Linux
import sys
import types

_HELD = {}  # (device, inode) -> descriptor that has the lock


def _locking(descriptor, mode, count):
    """Windows' lock of `count` bytes at the place of the file."""
    assert (mode, count) == (2, 1)
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 1 << 30
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


def _open_files():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue


def become_windows():
    """No fcntl but msvcrt, no fallocate, no times by descriptor, no /proc, and open files cannot be
    removed."""
    sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=_locking)
    usual_import, unlink, read_text = importlib.import_module, os.unlink, pathlib.Path.read_text

    def import_module(name, package=None):
        if name == "fcntl":
            raise ModuleNotFoundError(name)
        return usual_import(name, package)

    def unlink_closed(path, **options):
        if os.path.realpath(path) in _open_files():
            raise PermissionError(13, "used by another process", str(path))
        unlink(path, **options)

    def read_no_proc(path, *words, **options):
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(str(path))
        return read_text(path, *words, **options)

    importlib.import_module = import_module
    os.unlink = os.remove = unlink_closed
    pathlib.Path.read_text = read_no_proc
    os.supports_fd.discard(os.utime)
    del os.posix_fallocate
