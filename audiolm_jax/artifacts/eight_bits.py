"""Weights in 8 bits: whole numbers and, for each block of 32 that follow each other, their unit.

An array `NAME` of float32 becomes `NAME`, int8 of the same shape, and `NAME.units`, float16
[blocks]: a value is its whole number times its block's unit, at most half a unit from what it was
(and as much as the rounding of the unit itself moves it, 0.05 %). With larger units the numbers are
of fewer bits, and an archive packs them to about that.
"""

from collections.abc import Mapping

import numpy as np

from audiolm_jax.errors import InputError

BLOCK = 32
UNITS = ".units"


def to_eight_bits(name: str, array: np.ndarray, bits: int = 8) -> dict[str, np.ndarray]:
    """The two arrays in place of one of float32, its numbers of so many bits, 2 to 8. InputError
    for numbers that no unit reaches."""
    most = 2 ** (bits - 1) - 1
    flat = np.pad(array.reshape(-1), (0, -array.size % BLOCK)).reshape(-1, BLOCK)
    with np.errstate(over="ignore"):
        units = (np.abs(flat).max(axis=1) / most).astype(np.float16)
    if not np.isfinite(units).all():
        raise InputError(f"{name}: holds numbers too large for {bits} bits; take 16, or the folder")
    # Rounding has made some units a little less than the largest of a block needs.
    short = np.abs(flat).max(axis=1) > most * units.astype(np.float32)
    units = np.where(short, np.nextafter(units, np.float16(np.inf)), units)
    whole = np.rint(flat / np.maximum(units, np.finfo(np.float16).smallest_subnormal)[:, None])
    return {
        name: whole.reshape(-1)[: array.size].reshape(array.shape).astype(np.int8),
        f"{name}{UNITS}": units,
    }


def from_eight_bits(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All arrays, those in 8 bits as float32 again. ValueError for units of no array."""
    found = {name for name in arrays if name.endswith(UNITS)}
    result = {}
    for name, array in arrays.items():
        if name.endswith(UNITS):
            continue
        if (units := arrays.get(f"{name}{UNITS}")) is not None:
            found.discard(f"{name}{UNITS}")
            if array.dtype != np.int8 or len(units) != -(-array.size // BLOCK):
                raise ValueError(f"{name}: {array.dtype} {array.shape} with {len(units)} units")
            wide = np.repeat(units.astype(np.float32), BLOCK)[: array.size]
            array = array * wide.reshape(array.shape)
        result[name] = array
    if found:
        raise ValueError(f"{min(found)}: units of no array")
    return result
