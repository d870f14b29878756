"""Where things lie: on this machine, or in a bucket (gs://, s3://; memory:// for tests).

`at` gives a `pathlib.Path` of either kind, so whoever reads and writes need not know which. An
object of a bucket appears as a whole or not at all; there are no folders, only names with "/", and
nothing is renamed or appended to. Whatever needs a file of this machine gets one by `local_copy`,
and writes one through `atomic.atomic_path`.
"""

import contextlib
import datetime
import errno
import fnmatch
import functools
import io
import os
import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

from audiolm_jax.errors import InputError

# Scheme -> the package that reads it and the extra that brings it; None: comes with fsspec.
_DRIVERS = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3"), "memory": None}
_TIMES = ("mtime", "updated", "LastModified", "created")  # what the drivers call it
_AT_ONCE = 32  # requests under way together
COMPLETE = "commit_success.txt"  # by which Orbax says that a checkpoint in a bucket is whole


class StorageError(InputError, OSError):
    """A bucket that does not do what is asked of it: its address and the reason, in one line."""

    def __init__(self, path: object, what: str, reason: str):
        super().__init__(f"{path}: {what} ({reason})")
        self.filename, self.strerror = str(path), f"{what} ({reason})"

    def __str__(self) -> str:
        return str(self.args[0])


def at(place: str | Path) -> Path:
    """The path of a folder or file of this machine, or of an address; InputError for an address of
    an unknown kind. Nothing is looked at."""
    if isinstance(place, BucketPath):
        return place
    scheme, mark, rest = str(place).partition(":/" if isinstance(place, Path) else "://")
    if not mark or (isinstance(place, Path) and scheme not in _DRIVERS):
        return Path(place)
    if scheme not in _DRIVERS:
        known = ", ".join(f"{name}://" for name in _DRIVERS)
        raise InputError(f"{place}: {scheme}:// is not known; expected {known} or a folder")
    if not rest.strip("/") or ".." in rest.split("/"):
        raise InputError(f"{place}: expected {scheme}://BUCKET/NAME, without ..")
    return BucketPath(f"{scheme}:", rest)


def is_remote(path: str | Path) -> bool:
    """Whether a path is an address."""
    return isinstance(path, BucketPath) or (isinstance(path, str) and "://" in path)


@functools.cache
def _driver(scheme: str) -> Any:
    """fsspec's file system of a scheme, which remembers no listings: others write there too."""
    import fsspec

    needs = _DRIVERS[scheme]
    for name in ("gs", "gcs", "s3", "memory"):  # also for the one that Orbax opens
        fsspec.config.conf.setdefault(name, {}).setdefault("use_listings_cache", False)
    try:
        return fsspec.filesystem(scheme)
    except ImportError as error:
        package, extra = needs or ("fsspec", "")
        raise InputError(
            f"{scheme}://: needs the package {package} ({error}); "
            f"pip install 'audiolm_jax[{extra}]'"
        ) from None
    except Exception as error:
        raise StorageError(f"{scheme}://", "no access", _reason(error)) from error


class BucketPath(PosixPath):
    """An object, or the beginning of the names of several, by its address. What `Path` does by
    names alone it does too; of what touches files only the methods below, and `os.fspath`, by which
    an address would be taken for a folder called "gs:", is refused."""

    def __str__(self) -> str:
        scheme, *rest = self.parts or ("memory:",)
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self}: not a file of this machine")

    def __repr__(self) -> str:
        return f"BucketPath({str(self)!r})"

    @property
    def _system(self) -> Any:
        return _driver(self.parts[0][:-1])

    @property
    def _key(self) -> str:
        return "/".join(self.parts[1:])

    def absolute(self) -> "BucketPath":
        """Itself."""
        return self

    def resolve(self, strict: bool = False) -> "BucketPath":
        """Itself."""
        return self

    def relative_to(self, *other: Any, **options: Any) -> Any:
        """The rest of the name, as a path of no place."""
        (base,) = (PurePosixPath(*x.parts) for x in other)
        return PurePosixPath(*self.parts).relative_to(base)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind, size, and time of writing by the store's clock; the rest is 0."""
        with _told(self, "cannot be looked at"):
            return _status(self._system.info(self._key))

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such an object, or one below it."""
        return self._mode() is not None

    def is_file(self, **options: Any) -> bool:
        """Whether there is such an object."""
        return stat.S_ISREG(self._mode() or 0)

    def is_dir(self, **options: Any) -> bool:
        """Whether there are objects below it."""
        return stat.S_ISDIR(self._mode() or 0)

    def _mode(self) -> int | None:
        try:
            return self.stat().st_mode
        except FileNotFoundError:
            return None

    def iterdir(self) -> Generator["BucketPath", None, None]:
        """What lies directly below."""
        try:
            with _told(self, "cannot be listed"):
                names = self._system.ls(self._key, detail=False)
        except FileNotFoundError:
            return
        own = PurePosixPath(self._key).name
        for name in sorted(name.rstrip("/").rpartition("/")[2] for name in names):
            if name != own or len(names) > 1:
                yield self / name

    def glob(self, pattern: str, **options: Any) -> Generator["BucketPath", None, None]:
        """Of what lies directly below, what is called so."""
        if "/" in pattern:
            raise ValueError(f"{self}: glob of {pattern!r}; a pattern is of one name")
        yield from (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def read_bytes(self) -> bytes:
        """All of it."""
        with _told(self, "cannot be read"):
            return self._system.cat_file(self._key)

    def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        """All of it, UTF-8 unless told otherwise."""
        with self.open("r", encoding=encoding, errors=errors, newline=newline) as file:
            return file.read()

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from one place up to another, of each pair."""
        with _told(self, "cannot be read"):
            if len(ranges) == 1:
                ((start, stop),) = ranges  # by name: the drivers differ in their order
                return [self._system.cat_file(self._key, start=start, end=stop)]
            starts, stops = zip(*ranges, strict=True)
            return self._system.cat_ranges(
                [self._key] * len(ranges), list(starts), list(stops), on_error="raise"
            )

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Reads all of it into memory."""
        if mode not in ("r", "rb", "rt"):
            raise ValueError(f"{self}: opened with {mode!r}; write through atomic_path")
        file = io.BytesIO(self.read_bytes())
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def write_bytes(self, data: Any) -> int:
        """Puts an object here, in place of any."""
        with _writing(self):
            self._system.pipe_file(self._key, bytes(data))
        return len(data)

    def create(self, data: bytes) -> None:
        """Puts an object here; FileExistsError if there is one, as far as the store can tell."""
        with _writing(self):
            self._system.pipe_file(self._key, data, mode="create")

    def put(self, source: Path) -> None:
        """Puts a file of this machine here, in place of any object."""
        with _writing(self):
            self._system.put_file(os.fspath(source), self._key)

    def fetch(self, target: Path) -> None:
        """Writes the object into a file of this machine."""
        with _told(self, "cannot be read"):
            self._system.get_file(self._key, os.fspath(target))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes an object."""
        try:
            with _told(self, "cannot be removed"):
                self._system.rm_file(self._key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def rmdir(self) -> None:
        """Nothing: there are no folders."""


def files_below(folder: Path) -> dict[str, os.stat_result]:
    """All files below a folder or an address, by relative name with "/", by one listing; empty if
    there is nothing."""
    if not isinstance(folder, BucketPath):
        found = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.stat() for path in sorted(found)}
    start = folder._key + "/"
    try:
        with _told(folder, "cannot be listed"):
            found_objects = folder._system.find(folder._key, detail=True)
    except FileNotFoundError:
        return {}
    objects = ((key.lstrip("/"), info) for key, info in found_objects.items())
    return {
        key.removeprefix(start): _status(info)
        for key, info in sorted(objects)
        if key.startswith(start) and info["type"] == "file" and not key.endswith("/")
    }


def remove_tree(folder: Path, may_vanish: bool = False) -> None:
    """Removes a folder, of which others may remove parts meanwhile, or all objects below an
    address, those that say that it is whole first."""
    if not isinstance(folder, BucketPath):
        shutil.rmtree(folder, ignore_errors=may_vanish)
        return
    groups: dict[tuple[bool, int], list[str]] = {}
    for name in files_below(folder):
        groups.setdefault(_rank(name), []).append(name)
    for rank in sorted(groups, reverse=True):
        each(lambda name: (folder / name).unlink(missing_ok=True), groups[rank])


def upload(source: Path, target: BucketPath) -> None:
    """Puts a file, or a folder in place of all that is there. What says that a folder is whole, its
    JSON or `COMPLETE`, and of that what lies highest, is removed first and written last."""
    if not source.is_dir():
        target.put(source)
        return
    remove_tree(target)
    groups: dict[tuple[bool, int], list[str]] = {}
    for name in files_below(source):
        groups.setdefault(_rank(name), []).append(name)
    for rank in sorted(groups):
        each(lambda name: (target / name).put(source / name), groups[rank])


def move_tree(source: Path, target: Path) -> None:
    """Renames a folder, or copies objects and removes them."""
    if not (isinstance(source, BucketPath) and isinstance(target, BucketPath)):
        source.rename(target)
        return
    with _told(source, "cannot be copied"):
        for name in files_below(source):
            source._system.cp_file((source / name)._key, (target / name)._key)
    remove_tree(source)


def download(source: Path, target: Path) -> None:
    """Copies a folder to a folder of this machine, which is made."""

    def fetch(name: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file := source / name, BucketPath):
            file.fetch(target / name)
        else:
            shutil.copy(file, target / name)

    def fail(error: OSError) -> None:
        raise error

    target.mkdir(parents=True)
    if isinstance(source, BucketPath):
        names = list(files_below(source))
    else:  # with what links to folders lead to
        found = (
            (Path(x), inner) for x, _, inner in os.walk(source, onerror=fail, followlinks=True)
        )
        names = [str((x / name).relative_to(source)) for x, inner in found for name in inner]
    each(fetch, names)


def each(do: Any, items: Sequence[Any]) -> list[Any]:
    """What `do` gives for each item, in order, several at a time: a bucket answers slowly."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(do, items))


def _rank(name: str) -> tuple[bool, int]:
    return name.endswith((".json", COMPLETE)), -name.count("/")


def _status(info: dict[str, Any]) -> os.stat_result:
    if info["type"] != "file":
        return os.stat_result([stat.S_IFDIR | 0o777, *[0] * 9])
    time = next((info[name] for name in _TIMES if info.get(name) is not None), 0)
    if isinstance(time, str):
        time = datetime.datetime.fromisoformat(time)
    if isinstance(time, datetime.datetime):
        since = time - datetime.datetime.fromtimestamp(0, datetime.UTC)
        nanoseconds = (since // datetime.timedelta(microseconds=1)) * 1000
    else:
        nanoseconds = round(time * 10**6) * 1000
    seconds = nanoseconds // 10**9
    numbers = [stat.S_IFREG | 0o666, 0, 0, 1, 0, 0, info["size"], seconds, seconds, seconds]
    precise = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), nanoseconds)
    return os.stat_result(numbers, precise)


@contextlib.contextmanager
def _told(path: BucketPath, what: str) -> Iterator[None]:
    """Whatever a driver raises as one line; what is not there is a FileNotFoundError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "is there already", str(path)) from error
    except Exception as error:
        raise StorageError(path, what, _reason(error)) from error


@contextlib.contextmanager
def _writing(path: BucketPath) -> Iterator[None]:
    what = "cannot be written"
    try:
        with _told(path, what):
            yield
    except FileNotFoundError as error:
        raise StorageError(path, what, f"no bucket {path.parts[1]}, or no right to it") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
