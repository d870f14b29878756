"""How fast crops are read, and how fast training takes them, told once at its start."""

import contextlib
import logging
import statistics
import time
from collections.abc import Iterator

# Batches that go ahead while the first step is compiled; then those that count.
AHEAD, COUNTED = 12, 24

logger = logging.getLogger(__name__)


class Feed:
    """The clock of a reader that is a few batches ahead of training: full, it reads one as one is
    taken, so the time from batch to batch is that of a step."""

    def __init__(self, name: str, seconds: float, threads: int):
        """`seconds` of audio are in a batch of this host, read by so many threads."""
        self._name, self._seconds, self._threads = name, seconds, threads
        self._busy, self._ended = list[float](), list[float]()
        self._seen = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around the reading of each batch."""
        begun = time.monotonic()
        yield
        self._seen += 1
        if AHEAD <= self._seen <= AHEAD + COUNTED:
            self._ended.append(time.monotonic())
            self._busy.append(self._ended[-1] - begun)
        if self._seen == AHEAD + COUNTED:
            logger.info(self.words())

    def words(self) -> str:
        """What was measured; medians, for evaluations and checkpoints lie between."""
        busy = statistics.median(self._busy[1:])
        steps = [b - a for a, b in zip(self._ended[:-1], self._ended[1:], strict=True)]
        step = max(statistics.median(steps), busy)
        read, taken = (self._seconds / max(x, 1e-9) for x in (busy, step))
        can = (
            f"{self._name}: crops can be read at {read:,.0f} x real time ({self._threads} threads)"
        )
        if busy > 0.9 * step:
            return f"{can}, and steps wait for them; audiolm prepare or pack makes them faster"
        return f"{can}, steps take {taken:,.0f} x"
