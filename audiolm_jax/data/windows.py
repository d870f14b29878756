"""The one rule by which something long is cut: the fewest windows that fit, as equal as can be."""

import numpy as np
from jaxtyping import Int


def even_windows(length: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive windows over `length`, none above `longest`."""
    count = -(-length // longest)
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


def all_windows(
    lengths: Int[np.ndarray, " n"], longest: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " w"], Int[np.ndarray, " w"], Int[np.ndarray, " w"]]:
    """(item, start, stop) of the even windows of many lengths, each with its own longest."""
    counts = -(-lengths // longest)
    item = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(item)) - (np.cumsum(counts) - counts)[item]
    length, count = lengths[item], counts[item]
    return item, number * length // count, (number + 1) * length // count


class WindowsOfAll:
    """The even windows of many lengths, one after the other, without listing them."""

    def __init__(self, lengths: Int[np.ndarray, " n"], longest: int):
        self._lengths, self._longest = lengths, longest
        self._ends = np.cumsum(-(-lengths // longest))  # windows up to and with each length

    def __len__(self) -> int:
        return int(self._ends[-1])

    def item_of(self, number: int) -> int:
        """Which length the window of a number is of."""
        return int(self.items_of(np.array([number]))[0])

    def items_of(self, numbers: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """`item_of` each."""
        return np.searchsorted(self._ends, numbers, side="right")

    def at(self, numbers: Int[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(item, start, stop) of windows, int64 [m] each, as `even_windows` has them."""
        items = self.items_of(numbers)
        lengths = self._lengths[items]
        counts = -(-lengths // self._longest)
        parts = numbers - (self._ends[items] - counts)
        return items, parts * lengths // counts, (parts + 1) * lengths // counts

    def __getitem__(self, number: int) -> tuple[int, int, int]:
        """(item, start, stop) of a window."""
        item, start, stop = (int(value[0]) for value in self.at(np.array([number])))
        return item, start, stop
