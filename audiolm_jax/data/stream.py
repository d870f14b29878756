"""Streams by position: shuffled orders and random numbers are pure functions of (seed, position),
so that any position is reached at once, on any host, with the same result."""

from collections.abc import Sequence

import numpy as np

from audiolm_jax.errors import InputError

_MASK = 0xFFFFFFFFFFFFFFFF
ROUNDS = 6


def generator(seed: int, position: int, purpose: int) -> np.random.Generator:
    """Random numbers of one position of one stream; `purpose` keeps uses of them independent."""
    key = np.array([seed & _MASK, position], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))


def shuffled_index(position: int, size: int, seed: int) -> int:
    """Element `position % size` of epoch `position // size`'s own permutation of range(size):
    a Feistel network over the smallest even number of bits that holds `size`, whose results outside
    are fed in again until they fall inside."""
    epoch, index = divmod(position, size)
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    half = (1 << half_bits) - 1
    key = _mix(_mix(seed & _MASK) + epoch)
    while True:
        left, right = index >> half_bits, index & half
        for turn in range(ROUNDS):
            left, right = right, left ^ (_mix(key + (turn << 56) + right) & half)
        index = (left << half_bits) | right
        if index < size:
            return index


def spread(total: int, most: int | None) -> Sequence[int]:
    """At most `most` of range(total), in order, None: all. One is drawn from each of `most` equal
    stretches, always the same ones, so that every part has its share and no period is hit."""
    if most is None or total <= most:
        return range(total)
    ends = np.arange(most + 1) * total // most
    drawn = generator(0, 0, purpose=4).integers(ends[:-1], ends[1:])
    return [int(number) for number in drawn]


def own_rows(batch_size: int, rows: Sequence[int] | None) -> tuple[int, ...]:
    """The rows of every batch that a host reads, checked; None takes all."""
    if batch_size < 1:
        raise InputError(f"--batch-size = {batch_size}: expected 1 or more")
    own = tuple(range(batch_size)) if rows is None else tuple(rows)
    if not own or list(own) != sorted(set(own)) or not 0 <= own[0] <= own[-1] < batch_size:
        raise InputError(f"rows = {own}: expected some of 0 to {batch_size - 1}, once and in order")
    return own


def _mix(value: int) -> int:
    """The finalizer of SplitMix64: every bit of the input moves about half of the output bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
