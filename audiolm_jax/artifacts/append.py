"""Text files that grow line by line, here or in a bucket, whose objects cannot grow."""

import os
import threading
import time
from pathlib import Path

from audiolm_jax.artifacts.storage import BucketPath

SECONDS = 30.0  # between two writings of an object, unless it is asked for


class Appender:
    """Appends to a UTF-8 file that may be there already; None appends to nothing. An object is
    written anew as a whole now and then, at each `sync` and in the end."""

    def __init__(self, path: Path | None):
        self._object = path if isinstance(path, BucketPath) else None
        self._file = None
        if self._object is None:
            self._file = open(os.devnull if path is None else path, "a", encoding="utf-8")  # noqa: SIM115
            return
        try:
            self._text = [self._object.read_bytes()]
        except FileNotFoundError:
            self._text = []
        self._written, self._unwritten = time.monotonic(), 0
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Appends whole lines, which others see at once, in a bucket some time later."""
        if self._file is not None:
            self._file.write(text)
            self._file.flush()
            return
        with self._lock:
            self._text.append(text.encode())
            self._unwritten += 1
        if time.monotonic() - self._written > SECONDS:
            self.sync()

    def sync(self) -> None:
        """Returns when all is on disk, or in the bucket."""
        if self._file is not None:
            os.fsync(self._file.fileno())
        elif self._object is not None:
            with self._lock:
                if self._unwritten:
                    self._text = [b"".join(self._text)]
                    self._object.write_bytes(self._text[0])
                    self._unwritten = 0
                self._written = time.monotonic()

    def close(self) -> None:
        """Writes what is not written yet."""
        if self._file is not None:
            self._file.close()
        else:
            self.sync()
