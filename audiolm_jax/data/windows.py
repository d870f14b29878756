"""The one rule by which something long is cut: the fewest windows that fit, as equal as can be."""


def even_windows(length: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive windows over `length`, none above `longest`."""
    count = -(-length // longest)
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]
