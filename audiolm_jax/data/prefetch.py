"""Prepares the next items of a stream on a thread while the current one is used."""

import atexit
import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

_END = object()
_PATIENCE_SECONDS = 2.0


def prefetch(source: Callable[[], Iterator[Item]], depth: int) -> Generator[Item, None, None]:
    """The items of an iterator in its order, `depth` of them ready; closing it ends the thread,
    on which `source` makes the iterator when the first item is asked for. What it raises is raised
    where the item is asked for."""
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put((item, error), timeout=0.1)
                return

    def fill() -> None:
        try:
            for item in source():
                put(item)
                if stopped.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_END, error)

    def end() -> None:
        if not stopped.is_set():
            stopped.set()
            thread.join(_PATIENCE_SECONDS)  # what hangs is left behind
            atexit.unregister(end)

    thread = threading.Thread(target=fill, name="prefetch", daemon=True)
    thread.start()
    atexit.register(end)  # while threads can still run; a stream may never be closed by its user
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        end()
