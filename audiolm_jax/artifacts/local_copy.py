"""Objects of buckets as files of this machine, for whoever has to seek in them or map them into
memory: fetched once, kept in a folder of bounded size, the least recently used removed first.

The folder lies in the system's one for temporary files, or in `AUDIOLM_SCRATCH`, and belongs to
the process; it is removed at its end, or, of a process that was killed, by the next one. It holds
`AUDIOLM_SCRATCH_GIB` (8 unless set) at most, and what is being read.
"""

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from audiolm_jax.artifacts.file_lock import lock
from audiolm_jax.artifacts.refusals import is_shortage, name_place
from audiolm_jax.artifacts.storage import BucketPath, StorageError, download
from audiolm_jax.errors import InputError

_PREFIX, _LOCK = "audiolm_scratch_", ".lock"
_once = threading.RLock()  # several threads may be the first


@contextlib.contextmanager
def local_copy(path: Path, is_kept: bool = False) -> Iterator[Path]:
    """The file itself, or while the block runs a copy of an object, with its time. One that
    `is_kept` serves the next who ask for it, and no other version is looked for meanwhile.
    FileNotFoundError if there is none."""
    if not isinstance(path, BucketPath):
        yield path
    elif is_kept:
        with _copies().held(path) as copy:
            yield copy
    else:
        with scratch_folder() as folder:
            path.fetch(folder / path.name[-40:])
            yield folder / path.name[-40:]


@contextlib.contextmanager
def local_folder(path: Path) -> Iterator[Path]:
    """The folder itself, or while the block runs a copy of all that lies below an address."""
    if not isinstance(path, BucketPath):
        yield path
        return
    with scratch_folder() as folder:
        download(path, folder / "copy")
        yield folder / "copy"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder of this machine, removed at the end of the block."""
    with tempfile.TemporaryDirectory(
        prefix="work_", dir=_own_folder(), ignore_cleanup_errors=True
    ) as folder:
        try:
            yield Path(folder)
        except OSError as error:
            name_place(error, _base(), Path(folder))
            raise


def forget(path: Path) -> None:
    """Has the object fetched anew when it is asked for next, unless it is being read."""
    if isinstance(path, BucketPath):
        _copies().drop(str(path))


class Copies:
    """Copies of objects in a folder, safe to use from several threads."""

    def __init__(self, folder: Path, limit_bytes: int):
        self._folder, self._limit, self._bytes = folder, limit_bytes, 0
        self._sizes: OrderedDict[str, int] = OrderedDict()  # of what is whole, by address
        self._files: dict[str, Path] = {}
        self._readers: dict[str, int] = {}
        self._fetching: dict[str, threading.Lock] = {}
        self._lock, self._numbers = threading.Lock(), itertools.count()

    @contextlib.contextmanager
    def held(self, path: BucketPath) -> Iterator[Path]:
        """A copy that stays while the block runs."""
        name = str(path)
        with self._lock:
            self._readers[name] = self._readers.get(name, 0) + 1
            fetching = self._fetching.setdefault(name, threading.Lock())
        try:
            with fetching:
                if name not in self._sizes:
                    self._fetch(path, name)
                with self._lock:
                    self._sizes.move_to_end(name)
            yield self._files[name]
        finally:
            with self._lock:
                self._readers[name] -= 1
                if not self._readers[name]:
                    del self._readers[name]
                    if name not in self._sizes:
                        self._fetching.pop(name, None)
                self._shrink()

    def drop(self, name: str) -> None:
        """Keeps no copy of an address that nobody reads."""
        with self._lock:
            if name in self._sizes and name not in self._readers:
                self._remove(name)

    def _fetch(self, path: BucketPath, name: str) -> None:
        status = path.stat()
        # Ends as the name does, of which the format of sound is known.
        file = self._folder / f"{next(self._numbers)}_{path.name[-40:]}"
        try:
            path.fetch(file)
            if (size := file.stat().st_size) != status.st_size:
                reason = f"{size} bytes came of {status.st_size}"
                raise StorageError(path, "changed while it was read", reason)
            os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        with self._lock:
            self._files[name], self._sizes[name] = file, size
            self._bytes += size
            self._shrink()

    def _shrink(self) -> None:
        for name in [x for x in self._sizes if x not in self._readers]:
            if self._bytes <= self._limit:
                return
            self._remove(name)

    def _remove(self, name: str) -> None:
        self._bytes -= self._sizes.pop(name)
        self._fetching.pop(name, None)
        self._files.pop(name).unlink(missing_ok=True)


def _copies() -> Copies:
    with _once:
        return _made_copies()


def _own_folder() -> Path:
    with _once:
        return _made_folder()


@functools.cache
def _made_copies() -> Copies:
    text = os.environ.get("AUDIOLM_SCRATCH_GIB", "8")
    try:
        limit = int(float(text) * 2**30)
    except ValueError:
        raise InputError(f"AUDIOLM_SCRATCH_GIB = {text}: expected a number of GiB") from None
    folder = _own_folder() / "copies"
    folder.mkdir()
    return Copies(folder, limit)


def _base() -> Path:
    return Path(os.environ.get("AUDIOLM_SCRATCH") or tempfile.gettempdir())


@functools.cache
def _made_folder() -> Path:
    base = _base()
    try:
        base.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=base).close()
    except OSError as error:
        if is_shortage(error) or "AUDIOLM_SCRATCH" not in os.environ:
            raise
        reason = f"cannot be written ({error.strerror}); name a folder that can"
        raise InputError(f"AUDIOLM_SCRATCH = {base}: {reason}") from error
    for left in base.glob(f"{_PREFIX}*"):
        # The kernel's lock ends with its process, however that ends.
        with contextlib.suppress(OSError), (left / _LOCK).open("a") as file:
            lock(file)
            file.close()
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    held: list[TextIO] = [(folder / _LOCK).open("a")]
    lock(held[0])
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:  # no child of it
            held.pop().close()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return folder
