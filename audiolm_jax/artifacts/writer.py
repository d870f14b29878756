"""One writer at a time for a folder or file, on network folders too.

The lock is a file in the folder, which other machines may know by another path; of what is replaced
in one rename, beside it. The kernel's lock on it ends with its process, so after a kill the next
start goes on at once. Some network folders show that lock to no other machine, or
have none: so the file also names its writer, who touches it all the time, and on another machine
it counts as long as it is fresh by the file server's clock.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from audiolm_jax.errors import InputError

BEAT_SECONDS, FRESH_SECONDS = 10.0, 60.0
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


def lock_file(path: Path, is_replaced: bool = False) -> Path:
    """Where the lock of an output lies."""
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
    is_new = not place.parent.exists()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path, place)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}: {error.filename}); choose another place"
        ) from error
    ended = threading.Event()
    beat = threading.Thread(target=_touch, args=(file.fileno(), ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with contextlib.suppress(FileNotFoundError):  # the whole folder may be gone
            place.unlink()
        file.close()
        if is_new:
            with contextlib.suppress(OSError):  # something was written
                place.parent.rmdir()


def _open_locked(path: Path, place: Path) -> TextIO:
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(place.open("a+"))
            is_locked = True
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        file.truncate(0)
        file.write(json.dumps({"machine": _machine(), "host": platform.node(), "pid": os.getpid()}))
        file.flush()
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
    try:
        file.seek(0)
        owner = json.load(file)
        return {name: owner[name] for name in ("machine", "host", "pid")}
    except (ValueError, KeyError, TypeError):
        return {}


def _taken(path: Path, owner: dict[str, str | int]) -> TakenError:
    who = f" ({owner['pid']} on {owner['host']})" if owner else ""
    return TakenError(
        f"{path}: another process{who} is writing here; wait for its end, or write elsewhere"
    )


def _touch(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _machine() -> str:
    """Of the running kernel, the same in all its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()
