"""A checksum over all bits of named arrays and their places, the same however they are sharded."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from audiolm_jax.training.distributed import from_all_hosts
from audiolm_jax.training.host_arrays import Bounds, bounds_of, merge_hosts, owners_of
from audiolm_jax.types import Array

_SUMMED_TOGETHER = 1 << 20  # elements


def checksum(arrays: Mapping[str, Array]) -> int:
    """A 64-bit sum over all bits and their places, the same however the arrays are sharded; all
    hosts sum a `jax.Array` together, each its own NumPy arrays."""
    total = 0
    for order, array in enumerate(arrays.values()):
        strides = _strides(array)
        for values, index in _own_parts(array):
            starts = tuple(part.start or 0 for part in index)
            total += (2 * order + 1) * _weigh(values, starts, strides, 0)
    if jax.process_count() > 1 and any(isinstance(x, jax.Array) for x in arrays.values()):
        from jax.experimental import multihost_utils

        halves = np.array([total >> 32 & 0xFFFFFFFF, total & 0xFFFFFFFF], np.uint32)
        of_hosts = multihost_utils.process_allgather(halves).astype(object)
        total = sum(int(high) << 32 | int(low) for high, low in of_hosts)
    return total % 2**64


def _own_parts(array: Array) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    if isinstance(array, np.ndarray):
        yield array, (slice(None),) * array.ndim
        return
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            yield np.asarray(shard.data), shard.index


def is_whole(arrays: Mapping[str, jax.Array], expected: str) -> bool:
    """Whether what all hosts hold of the arrays, the copies among them too, has this checksum, 16
    hexadecimal digits; all hosts must call it and get the same answer."""
    own: dict[tuple[int, Bounds], int] = {}
    owners: dict[tuple[int, Bounds], int] = {}
    for order, array in enumerate(arrays.values()):
        strides = _strides(array)
        owners |= {(order, part): host for part, host in owners_of(array).items()}
        for shard in array.addressable_shards:
            part = bounds_of(shard.index, array.shape)
            if (order, part) not in own:  # of the copies on one host, which it read once, one
                starts = tuple(start for start, _ in part)
                value = (2 * order + 1) * _weigh(np.asarray(shard.data), starts, strides, 0)
                own[order, part] = value % 2**64
    host = jax.process_index()
    told = np.array([own[x] if owner == host else 0 for x, owner in owners.items()], np.uint64)
    values = dict(zip(owners, merge_hosts(told).tolist(), strict=True))
    is_same = all(values[part] == value for part, value in own.items())
    total = sum(values.values()) % 2**64
    return all(from_all_hosts(is_same and f"{total:016x}" == expected))


def _strides(array: Array) -> np.ndarray:
    return np.cumprod([1, *array.shape[:0:-1]], dtype=np.uint64)[::-1]


def _weigh(values: np.ndarray, starts: tuple[int, ...], strides: np.ndarray, before: int) -> int:
    """Sum over values that begin at `starts` of an array, whose first one is number `before`."""
    if values.size > _SUMMED_TOGETHER:  # it takes 24 bytes an element
        if len(values) == 1:
            before += starts[0] * int(strides[0])
            return _weigh(values[0], starts[1:], strides[1:], before)
        rows = max(1, _SUMMED_TOGETHER * len(values) // values.size)
        return sum(
            _weigh(values[begin : begin + rows], (starts[0] + begin, *starts[1:]), strides, before)
            for begin in range(0, len(values), rows)
        )
    places: Any = np.uint64(2 * before + 3)
    for axis, (start, stride) in enumerate(zip(starts, strides, strict=False)):
        along = np.arange(start, start + values.shape[axis], dtype=np.uint64) * (2 * stride)
        places = places + along.reshape(-1, *[1] * (values.ndim - 1 - axis))
    bits = values.astype(np.uint8) if values.dtype == bool else values
    bits = bits.view(f"u{bits.dtype.itemsize}")
    return int(np.sum(bits * places, dtype=np.uint64))
