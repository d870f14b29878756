"""Shuffled orders and random numbers as pure functions of (seed, position).

Nothing is stored and nothing is drawn in sequence, so any position of a stream of any length is
reached at once, on any host, with the same result.
"""

import numpy as np

_MASK = 0xFFFFFFFFFFFFFFFF
_ROUNDS = 6


def generator(seed: int, position: int, purpose: int) -> np.random.Generator:
    """Random numbers that belong to one position of one stream.

    Args:
      seed: of the run, any integer.
      position: >= 0.
      purpose: >= 0, keeps independent uses of the same position apart.
    """
    key = np.array([seed & _MASK, position], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, purpose]))


def shuffled_index(position: int, size: int, seed: int) -> int:
    """Element `position % size` of epoch `position // size`'s own permutation of range(size).

    A Feistel network over the smallest even number of bits that holds `size`; results outside are
    fed in again until they fall inside, which keeps it a permutation and takes under four rounds
    on average.

    Args:
      position: >= 0, place in the endless stream.
      size: >= 1, elements of an epoch.
      seed: of the run, any integer.
    """
    epoch, index = divmod(position, size)
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    half = (1 << half_bits) - 1
    key = _mix(_mix(seed & _MASK) + epoch)
    while True:
        left, right = index >> half_bits, index & half
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_mix(key + (turn << 56) + right) & half)
        index = (left << half_bits) | right
        if index < size:
            return index


def _mix(value: int) -> int:
    """The finaliser of SplitMix64: every bit of the input moves about half of the output bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
