"""The one rule by which something long is cut: the fewest windows that fit, as equal as can be."""

import numpy as np
from jaxtyping import Int


def even_windows(length: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive windows over `length`, none above `longest`."""
    count = -(-length // longest)
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


class WindowsOfAll:
    """The even windows of many lengths, one after the other, without listing them."""

    def __init__(self, lengths: Int[np.ndarray, " n"], longest: int | Int[np.ndarray, " n"]):
        """One `longest` for all lengths, or one for each."""
        self._lengths = lengths
        self._ends = np.concatenate([[0], np.cumsum(-(-lengths // longest))])  # from no window on

    def __len__(self) -> int:
        return int(self._ends[-1])

    def items_of(self, numbers: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """Which length the windows of some numbers are of."""
        return np.searchsorted(self._ends[1:], numbers, side="right")

    def at(self, numbers: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(item, start, stop) of windows, int64 [m] each, as `even_windows` has them."""
        items = self.items_of(numbers)
        lengths, first = self._lengths[items], self._ends[items]
        counts, parts = self._ends[items + 1] - first, numbers - first
        return items, parts * lengths // counts, (parts + 1) * lengths // counts

    def __getitem__(self, number: int) -> tuple[int, int, int]:
        """(item, start, stop) of a window."""
        item, start, stop = (int(value[0]) for value in self.at(np.array([number])))
        return item, start, stop
