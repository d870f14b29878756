"""Sound that comes block by block."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float


def stretches(
    blocks: Iterable[Float[np.ndarray, " n"]], spans: Sequence[tuple[int, int]]
) -> Iterator[Float[np.ndarray, " s"]]:
    """Stretches (first sample, end), one after the other, of a recording; what lies between them
    is not kept in memory."""
    feed, at, held = iter(blocks), 0, np.zeros(0, np.float32)
    for start, end in spans:
        parts = list[np.ndarray]()
        while at < end:
            if not len(held) and len(held := next(feed, held)) == 0:
                break
            skip = min(max(0, start - at), len(held))
            part = held[skip : end - at]
            parts.append(part)
            at, held = at + skip + len(part), held[skip + len(part) :]
        yield np.concatenate([np.zeros(0, np.float32), *parts])
