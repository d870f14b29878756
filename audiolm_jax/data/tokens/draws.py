"""The orders and draws of `data.stream` for many positions at once, the same bits: Philox and the
Feistel network as arithmetic on arrays, in place of an object a position."""

import numpy as np
from jaxtyping import Float, Int, UInt64

from audiolm_jax.data.stream import ROUNDS, generator

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FIRST, _SECOND = 0xD2E7470EE14C6C93, 0xCA5A826395121157  # multipliers of Philox4x64-10
_STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)  # of its keys, each round
_MASK = 0xFFFFFFFFFFFFFFFF


def uniform(seed: int, positions: Int[np.ndarray, " n"], purpose: int) -> Float[np.ndarray, " n"]:
    """`generator(seed, position, purpose).random()` of each position."""
    return (_words(seed, positions, purpose) >> np.uint64(11)) * 2.0**-53


def below(
    seed: int, positions: Int[np.ndarray, " n"], purpose: int, sizes: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """`generator(seed, position, purpose).integers(size)` of each position; sizes from 1 on."""
    size = sizes.astype(np.uint64)
    product = (_words(seed, positions, purpose) & _LOW) * size
    drawn = (product >> _HALF).astype(np.int64)
    # Lemire's method draws again where it would favour some; so do sizes beyond 32 bits.
    again = ((product & _LOW) < (np.uint64(1 << 32) - (size & _LOW)) % size) | (size > _LOW)
    for row in np.flatnonzero(again & (sizes > 1)):
        drawn[row] = generator(seed, int(positions[row]), purpose).integers(int(sizes[row]))
    return drawn


def shuffled_indices(
    positions: Int[np.ndarray, " n"], size: int, seed: int
) -> Int[np.ndarray, " n"]:
    """`shuffled_index` of each position."""
    epochs, indices = np.divmod(positions.astype(np.uint64), np.uint64(size))
    half_bits = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    half = (np.uint64(1) << half_bits) - np.uint64(1)
    keys = _mix(_mix(np.array([seed & _MASK], np.uint64)) + epochs)
    left_over = np.arange(len(positions))
    while len(left_over):
        key, index = keys[left_over], indices[left_over]
        left, right = index >> half_bits, index & half
        for turn in range(ROUNDS):
            left, right = right, left ^ (_mix(key + np.uint64(turn << 56) + right) & half)
        index = (left << half_bits) | right
        indices[left_over] = index
        left_over = left_over[index >= size]
    return indices.astype(np.int64)


def _words(seed: int, positions: Int[np.ndarray, " n"], purpose: int) -> UInt64[np.ndarray, " n"]:
    """First 64 bits of each position's generator."""
    c0, c1, c2, c3 = (np.full(len(positions), word, np.uint64) for word in (1, 0, 0, purpose))
    k0, k1 = np.array([seed & _MASK], np.uint64), positions.astype(np.uint64)
    for _ in range(10):
        (high, low), (other_high, other_low) = _product(_FIRST, c0), _product(_SECOND, c2)
        c0, c1, c2, c3 = other_high ^ c1 ^ k0, other_low, high ^ c3 ^ k1, low
        k0, k1 = k0 + _STEPS[0], k1 + _STEPS[1]
    return c0


def _product(factor: int, values: UInt64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """High and low 64 bits of factor x value."""
    a, b = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    high, low = values >> _HALF, values & _LOW
    middle = a * low + (b * low >> _HALF)
    carried = b * high + (middle & _LOW)
    return a * high + (middle >> _HALF) + (carried >> _HALF), np.uint64(factor) * values


def _mix(values: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The finalizer of SplitMix64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
