"""Being asked to stop: signals on one host, the cluster's preemption notice on many."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

import jax

T = TypeVar("T")

# sysexits.h calls 75 a temporary failure: try again.
EXIT_STATUS = {signal.SIGTERM: 75, signal.SIGINT: 130}


class TrainingStopped(SystemExit):
    """Training was asked to stop, saved its state and can be started again."""


class _WaitEnded(BaseException):
    """Raised by a signal in the middle of a wait; never seen outside."""


class StopRequest:
    """Whether, and by which signal, the process was asked to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._looks = 0
        self._is_waiting = False

    def unless_asked(self, wait: Callable[[], T]) -> T | None:
        """What a wait for data ends in; None, at once, if a signal comes before that or came. On
        several hosts, which have to agree, no signal does."""
        try:
            self._is_waiting = True
            result = wait() if self.signal is None else None
            self._is_waiting = False
            return result
        except _WaitEnded:
            return None
        finally:
            self._is_waiting = False

    def note(self, number: int) -> None:
        """Takes a signal; raises in the middle of a wait."""
        self.signal = signal.Signals(number)
        if self._is_waiting:
            self._is_waiting = False
            raise _WaitEnded

    @property
    def exit_status(self) -> int:
        """75 after SIGTERM or a preemption notice, 130 after SIGINT."""
        return EXIT_STATUS[self.signal or signal.SIGTERM]

    def seen(self, reached_preemption: Callable[[int], bool]) -> bool:
        """Whether to stop now; all hosts must look equally often, at the same places. Of several,
        `reached_preemption` gets the number of the look: JAX's service has all of them stop at the
        look after the furthest of any, so no number may be left out."""
        if jax.process_count() == 1:
            return self.signal is not None
        self._looks += 1
        return reached_preemption(self._looks - 1)


@contextlib.contextmanager
def watch_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Turns the first SIGTERM or SIGINT into a request, `request` or a new one; a second signal
    acts as usual."""
    request = StopRequest() if request is None else request
    # On many hosts the runtime's own preemption service takes the signal.
    if threading.current_thread() is not threading.main_thread() or jax.process_count() > 1:
        yield request
        return
    usual = {number: signal.getsignal(number) for number in EXIT_STATUS}

    def give_back() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        give_back()
        request.note(number)

    for number in usual:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        give_back()


def reached_preemption(look: int) -> bool:
    """Whether the cluster's preemption notice asks all hosts to stop at this look for it."""
    from jax.experimental import multihost_utils

    return multihost_utils.reached_preemption_sync_point(look)
