"""One writer at a time for a folder or file, on network folders too.

The lock is a file in the folder, which other machines may know by another path; of what is replaced
in one rename, beside it. The kernel's lock on it ends with its process, so after a kill the next
start goes on at once. Some network folders show that lock to no other machine, or
have none: so the file also names its writer, who touches it all the time, and on another machine
it counts as long as it is fresh by the file server's clock. In a bucket such a file is all there
is: it is put there if there is none, rewritten all the time, and one that is not fresh, or of a
process of this machine that has ended, is replaced.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import platform
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from audiolm_jax.artifacts.file_lock import lock, remove
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import BucketPath
from audiolm_jax.errors import InputError

BEAT_SECONDS, FRESH_SECONDS = 10.0, 60.0
SETTLE_SECONDS = 1.0  # in which all who replace a lock at once have written theirs
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}

logger = logging.getLogger(__name__)


def lock_file(path: Path, is_replaced: bool = False) -> Path:
    """Where the lock of an output lies."""
    if not isinstance(path, BucketPath):
        path = Path(os.path.abspath(path))
    if not is_replaced:
        return path / ".lock"
    name = os.fsencode(path.name)  # 255 bytes at most, as that of the lock
    unique = path.name if len(name) <= 249 else hashlib.sha256(name).hexdigest()
    return path.with_name(f".{unique}.lock")


class TakenError(InputError):
    """Another process is writing there."""


@contextlib.contextmanager
def only_writer(path: Path, is_replaced: bool = False) -> Iterator[None]:
    """Makes this process the only one that writes a folder, or replaces a file or folder;
    `TakenError` at once if another does. Missing folders are made, nothing of the lock is left."""
    place = lock_file(path, is_replaced)
    if isinstance(place, BucketPath):
        with _object_held(path, place):
            yield
        return
    is_new = not place.parent.exists()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path, place)
    except OSError as error:
        if is_new:
            with contextlib.suppress(OSError):  # it was not made
                place.parent.rmdir()
        if is_shortage(error):
            raise
        reason = f"{error.strerror}: {error.filename or place}"
        raise InputError(f"{path}: cannot be written ({reason}); choose another place") from error
    ended = threading.Event()
    beat = threading.Thread(target=_touch, args=(file, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        remove(file)  # the whole folder may be gone
        if is_new:
            with contextlib.suppress(OSError):  # something was written
                place.parent.rmdir()


def _open_locked(path: Path, place: Path) -> TextIO:
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(place.open("a+"))
            is_locked = True
            try:
                lock(file)
            except BlockingIOError:
                raise _taken(path, _owner(file)) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                is_locked = False
            # Whoever held it before may have removed it meanwhile.
            if place.exists() and os.path.samestat(os.fstat(file.fileno()), place.stat()):
                break
            file.close()
        owner = _owner(file)
        if _is_at_work(owner, file, is_locked):
            raise _taken(path, owner)
        try:
            own = {"machine": _machine(), "host": platform.node(), "pid": os.getpid()}
            file.truncate(0)
            os.write(file.fileno(), json.dumps(own).encode())
        except OSError as error:
            error.filename = error.filename or str(path)
            os.unlink(place)
            raise
        stack.pop_all()
        return file


def _is_at_work(owner: dict[str, str | int], file: TextIO, is_locked: bool) -> bool:
    """Whether the writer that a lock file names writes still, for all that can be known here."""
    if not owner or (is_locked and owner["machine"] == _machine()):
        return False  # this machine's kernel would have refused
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as now:
        age = os.fstat(now.fileno()).st_mtime - os.fstat(file.fileno()).st_mtime
    return age < FRESH_SECONDS


def _owner(file: TextIO) -> dict[str, str | int]:
    """What a lock file says of its writer; empty if nothing, or only half of it yet."""
    file.seek(0)
    return _named(file.read())


def _named(text: str) -> dict[str, Any]:
    try:
        owner = json.loads(text)
        return {name: owner[name] for name in ("machine", "host", "pid")} | owner
    except (ValueError, KeyError, TypeError):
        return {}


@contextlib.contextmanager
def _object_held(path: Path, place: BucketPath) -> Iterator[None]:
    own = {"machine": _machine(), "host": platform.node(), "pid": os.getpid(), **_process()}
    text = json.dumps(own | {"id": uuid.uuid4().hex})
    _put(path, place, text)
    ended, is_lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                if _read(place) == text:
                    place.write_bytes(text.encode())
                    continue
                is_lost.set()
                logger.error(str(_lost(path)))
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
        if is_lost.is_set():
            raise _lost(path)
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(OSError):
            if _read(place) == text:
                place.unlink()


def _put(path: Path, place: BucketPath, text: str) -> None:
    """Puts a lock; InputError if there is one that counts."""
    if there := _read(place):
        if _is_working(there, place):
            raise _taken(path, _named(there))
        # Others may have come to the same end: of all who replace it the last one has it.
        if _read(place) != there:
            raise _taken(path, {})
        place.write_bytes(text.encode())
        time.sleep(SETTLE_SECONDS)
    else:
        with contextlib.suppress(FileExistsError):
            place.create(text.encode())
    if (there := _read(place)) != text:
        raise _taken(path, _named(there))


def _read(place: BucketPath) -> str:
    try:
        return place.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _is_working(text: str, place: BucketPath) -> bool:
    """Whether the writer that a lock in a bucket names writes still, for all that is known here."""
    owner = _named(text)
    if owner and owner["machine"] == _machine() and owner.get("space") == _process()["space"]:
        return _process(owner["pid"]) == {name: owner.get(name) for name in _process()}
    now = place.with_name(f"{place.name}.{uuid.uuid4().hex[:12]}")
    try:
        now.write_bytes(b"")
        age = now.stat().st_mtime - place.stat().st_mtime
    except FileNotFoundError:  # it ended just now
        return False
    finally:
        now.unlink(missing_ok=True)
    return age < FRESH_SECONDS


def _process(pid: int | str = "self") -> dict[str, str]:
    """What tells a process from all others of its machine; nothing but the space if it is gone."""
    space = contextlib.suppress(OSError)
    found = {"space": "", "since": ""}
    with space:
        found["space"] = os.readlink("/proc/self/ns/pid")
        found["since"] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return found


def _lost(path: Path) -> InputError:
    return InputError(
        f"{path}: another process writes here since this one was not heard of for "
        f"{FRESH_SECONDS:g} s; stop one of them, and start the other again"
    )


def _taken(path: Path, owner: dict[str, str | int]) -> TakenError:
    who = f" ({owner['pid']} on {owner['host']})" if owner else ""
    return TakenError(
        f"{path}: another process{who} is writing here; wait for its end, or write elsewhere"
    )


def _touch(file: TextIO, ended: threading.Event) -> None:
    what = file.fileno() if os.utime in os.supports_fd else file.name
    while not ended.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(what)


def _machine() -> str:
    """Of the running kernel, the same in all its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()
