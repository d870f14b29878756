"""Prepares the next batches on a thread while the current step runs."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

_END = object()


class Prefetch:
    """An iterator that keeps a few items ready; the order is that of the source.

    Args:
      source: makes the iterator; called on the thread.
      depth: items to keep ready.
    """

    def __init__(self, source: Callable[[], Iterator[Any]], depth: int = 2):
        self._ready: queue.Queue = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), daemon=True)
        self._thread.start()

    def _fill(self, source: Callable[[], Iterator[Any]]) -> None:
        try:
            for item in source():
                if not self._put((item, None)):
                    return
            self._put((_END, None))
        except BaseException as error:  # raised again where the item is asked for
            self._put((_END, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> "Prefetch":
        return self

    def __next__(self) -> Any:
        item, error = self._ready.get()
        if item is not _END:
            return item
        self._stopped.set()
        if error is not None:
            raise error
        raise StopIteration

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)
