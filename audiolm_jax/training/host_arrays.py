"""Arrays between hosts, in pieces of a few MiB: no host needs more than its own and what it asks
for. A piece passes through every device once, as a sum to which one host alone contributes.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from audiolm_jax.training.distributed import from_first_host, is_first_host
from audiolm_jax.types import Array

Value = TypeVar("Value")
Bounds = tuple[tuple[int, int], ...]

_PIECE_BYTES = 4 << 20
_SMALLEST_BYTES = 4 << 10  # sizes are powers of two, so that few programs are compiled


def merge_hosts(array: np.ndarray) -> np.ndarray:
    """One array made of all hosts', of one shape and dtype: every element is that of the only host
    on which it has a bit that is not zero. All hosts must call it."""
    if jax.process_count() == 1:
        return array
    raw = _bytes_of(array)
    merged = np.empty_like(raw)
    for begin in range(0, len(raw), _PIECE_BYTES):
        piece = raw[begin : begin + _PIECE_BYTES]
        merged[begin : begin + len(piece)] = _merge_piece(piece, len(piece))
    return merged.view(array.dtype).reshape(array.shape)


def arrays_from_first_host(
    make: Callable[[], dict[str, np.ndarray] | None],
) -> dict[str, np.ndarray] | None:
    """The arrays that `make` returns on the first host, which alone calls it, on every host."""
    made: dict[str, np.ndarray] = {}

    def describe() -> dict[str, Any] | None:
        arrays = make()
        if arrays is None:
            return None
        made.update(arrays)
        return {name: [str(x.dtype), list(x.shape)] for name, x in made.items()}

    described = from_first_host(describe)
    if described is None:
        return None
    nothing = {n: np.zeros(shape, dtype) for n, (dtype, shape) in described.items()}
    return {name: merge_hosts(made.get(name, nothing[name])) for name in described}


def to_first_host(array: Array) -> np.ndarray | None:
    """The whole value of an array that is sharded in any way, on the first host; None on others.
    All must call it. Beside the value it takes the memory of one shard."""
    if isinstance(array, np.ndarray):
        return array
    own = {bounds_of(shard.index, array.shape): shard.data for shard in array.addressable_shards}
    owners = owners_of(array)
    if len(owners) == 1:  # it has a copy
        return np.asarray(own[next(iter(owners))]) if is_first_host() else None
    whole = np.empty(array.shape, array.dtype) if is_first_host() else None
    for bounds, owner in owners.items():
        part = None
        if owner == jax.process_index():
            part = np.asarray(own[bounds])
        if owner != 0:
            shape = tuple(stop - start for start, stop in bounds)
            part = _send(part, shape, array.dtype)
        if whole is not None:
            whole[tuple(slice(*ends) for ends in bounds)] = part
    return whole


def save_on_first_host(
    arrays: Mapping[str, Array], save: Callable[[Mapping[str, Any]], Value]
) -> Value:
    """What `save` returns, a JSON value, on every host; it is called on the first one alone.

    What it gets has shape and dtype, and becomes a whole array by `numpy.asarray`: each once, in
    the order of the names, while the other hosts send their shards of it. If `save` raises, the
    others raise InputError.
    """
    names = sorted(arrays)
    if not is_first_host():
        for name in names:
            to_first_host(arrays[name])
        return from_first_host(lambda: save({}))
    waiting = iter(names)

    def gather(name: str) -> np.ndarray:
        if (due := next(waiting, None)) != name:
            raise ValueError(f"array {name!r} was asked for, it is the turn of {due!r}")
        whole = to_first_host(arrays[name])
        assert whole is not None
        return whole

    def make() -> Value:
        try:
            return save({name: _Whole(name, array, gather) for name, array in arrays.items()})
        finally:  # the others send what nobody asks for any more, too
            for name in waiting:
                to_first_host(arrays[name])

    return from_first_host(make)


def owners_of(array: jax.Array) -> dict[Bounds, int]:
    """The parts of an array, and the lowest number of a host that has each; the same everywhere."""
    owners: dict[Bounds, int] = {}
    places: Mapping[Any, Any] = array.sharding.devices_indices_map(array.shape)
    for device, index in places.items():
        part = bounds_of(index, array.shape)
        owners[part] = min(owners.get(part, device.process_index), device.process_index)
    return dict(sorted(owners.items()))


def bounds_of(index: Any, shape: tuple[int, ...]) -> Bounds:
    """A shard's place in an array as begin and end along each dimension."""
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))


class _Whole:
    """An array that is gathered when its value is asked for."""

    def __init__(self, name: str, array: Array, gather: Callable[[str], np.ndarray]) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._name, self._gather = name, gather

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._gather(self._name)


def _send(part: np.ndarray | None, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """Sends a part from the host that has it; the first host returns it."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = None if part is None else _bytes_of(part)
    received = np.empty(size, np.uint8) if is_first_host() else None
    for begin in range(0, size, _PIECE_BYTES):
        end = min(begin + _PIECE_BYTES, size)
        piece = _merge_piece(None if raw is None else raw[begin:end], end - begin)
        if received is not None:
            received[begin:end] = piece
    return None if received is None else received.view(dtype).reshape(shape)


def _merge_piece(piece: np.ndarray | None, size: int) -> np.ndarray:
    from jax.experimental import multihost_utils

    padded = np.zeros(max(_SMALLEST_BYTES, 1 << (size - 1).bit_length()), np.uint8)
    if piece is not None:
        padded[:size] = piece
    # Integers, whose sum with zero keeps every bit; each host is a source of its own.
    merged = multihost_utils.broadcast_one_to_all(padded.view(np.uint32), is_source=True)
    return np.asarray(merged).view(np.uint8)[:size]


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
