"""ArrayRecord files record by record, at random places, here or in a bucket.

A file of this machine is read by the package array_record. It reads no other, so of an object only
the bytes of a record are asked for, and its layout is read here: chunks of records (Riegeli), cut
by a header of 24 bytes wherever a block of 64 KiB begins, and at the end a list of where each chunk
begins. Sizes and counts are checked, the hashes (HighwayHash) are not: between a store and its
reader they are the store's affair.
"""

import bisect
import errno
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.storage import BucketPath, at
from audiolm_jax.errors import InputError

_BLOCK, _BLOCK_HEADER = 1 << 16, 24
_CHUNK = struct.Struct("<8xQ8xQQ")  # bytes of data, kind and number of records, bytes of records
_MAGIC = 0x71930E704FDAE05E
_FAR = 1 << 16  # bytes between records that are not worth a request of their own
_CODECS = {ord("z"): "zstd", ord("b"): "brotli", ord("s"): "snappy"}


class DamagedRecordsError(InputError):
    """A file that is no ArrayRecord file, or no longer a whole one."""


class RecordFile:
    """The records of a file, each read when it is asked for; safe to use from several threads. A
    file of this machine is open until nobody has a reference to this."""

    def __init__(self, path: Path | str):
        """InputError if it cannot be opened, DamagedRecordsError if it is no such file."""
        self._path = at(path)
        self._shard: _Local | _Remote
        self._shard = (
            _Remote(self._path) if isinstance(self._path, BucketPath) else _Local(self._path)
        )

    def num_records(self) -> int:
        """How many there are."""
        return self._shard.num_records()

    def read(self, number: int) -> bytes:
        """One record; DamagedRecordsError if the file is damaged."""
        return self.read_many([number])[0]

    def read_many(self, numbers: Sequence[int]) -> list[bytes]:
        """Some records, in a bucket all at once."""
        for number in numbers:
            if not 0 <= number < self.num_records():
                raise IndexError(f"{self._path}: record {number} of {self.num_records()}")
        return self._shard.read_many(numbers)


class _Local:
    def __init__(self, path: Path):
        try:
            from array_record.python.array_record_module import ArrayRecordReader
        except ImportError as error:
            raise InputError(f"{path}: {error}; pip install array-record to read it") from error

        self._path, self._lock = path, threading.Lock()
        # One record at a time at random places: reading ahead would only cost.
        self._reader = ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:0")
        if not self._reader.ok():  # it does not say why
            try:
                path.open("rb").close()
            except OSError as error:
                hint = "; raise ulimit -n" if error.errno == errno.EMFILE else ""
                raise InputError(f"{path}: cannot be opened: {error.strerror}{hint}") from error
            raise DamagedRecordsError(f"{path}: damaged, or no ArrayRecord file")

    def num_records(self) -> int:
        return self._reader.num_records()

    def read_many(self, numbers: Sequence[int]) -> list[bytes]:
        try:
            with self._lock:
                return [self._read(number) for number in numbers]
        except (RuntimeError, IndexError) as error:
            raise DamagedRecordsError(f"{self._path}: damaged") from error

    def _read(self, number: int) -> bytes:
        # Cheaper than a list of one, and than all that a shard holds of a batch.
        self._reader.seek(number)
        return self._reader.read()


class _Remote:
    def __init__(self, path: BucketPath):
        self._path = path
        try:
            total = path.stat().st_size
            if total < _BLOCK:
                raise ValueError(f"{total} bytes")
            (end,) = path.read_ranges([(total - _BLOCK, total)])
            postscript = _records(end, total - _BLOCK)[0]  # one of three alike
            footer, magic = (_fields(postscript).get(n) for n in (1, 2))
            if magic != _MAGIC or not isinstance(footer, int) or footer > total - _BLOCK:
                raise ValueError("no list of records at its end")
            (listed,) = path.read_ranges([(footer, total - _BLOCK)])
            about, *chunks = _records(listed, footer)
            facts = _fields(_fields(about)[1])
            entries = [_fields(chunk) for chunk in chunks]
            self._count = int(facts.get(3, 0))
            self._offsets = np.array([*(entry.get(1, 0) for entry in entries), footer], np.int64)
            counts = np.array([entry.get(3, 0) for entry in entries], np.int64)
            self._ends = np.cumsum(counts)
            is_sorted = (np.diff(self._offsets) >= 0).all()
            if facts.get(1) != 1 or counts.sum() != self._count or not is_sorted:
                raise ValueError("a list of records that is not understood")
        except FileNotFoundError as error:
            raise InputError(f"{path}: cannot be opened: no such object") from error
        except (ValueError, KeyError, IndexError, TypeError, struct.error) as error:
            if isinstance(error, InputError):
                raise
            raise DamagedRecordsError(
                f"{path}: damaged, or no ArrayRecord file ({error})"
            ) from error

    def num_records(self) -> int:
        return self._count

    def read_many(self, numbers: Sequence[int]) -> list[bytes]:
        owners = np.searchsorted(self._ends, numbers, side="right")
        wanted = np.unique(owners).tolist()
        ranges: list[tuple[int, int]] = []
        for chunk in wanted:
            start, stop = int(self._offsets[chunk]), int(self._offsets[chunk + 1])
            if ranges and start - ranges[-1][1] < _FAR:
                start = ranges.pop()[0]
            ranges.append((start, stop))
        if not ranges:
            return []
        begins = [start for start, _ in ranges]
        found = dict(zip(begins, self._path.read_ranges(ranges), strict=True))
        chunks: dict[int, list[bytes]] = {}
        for chunk in wanted:
            start, stop = int(self._offsets[chunk]), int(self._offsets[chunk + 1])
            base = begins[bisect.bisect_right(begins, start) - 1]
            chunks[chunk] = self._chunk(chunk, found[base][start - base : stop - base], start)
        firsts = self._ends - np.diff(self._ends, prepend=0)
        places = zip(owners.tolist(), numbers, strict=True)
        return [chunks[owner][number - int(firsts[owner])] for owner, number in places]

    def _chunk(self, chunk: int, data: bytes, start: int) -> list[bytes]:
        try:
            records = _records(data, start)
            if len(records) != int(np.diff(self._ends, prepend=0)[chunk]):
                raise ValueError(f"{len(records)} records")
            return records
        except (ValueError, KeyError, IndexError, OSError, struct.error) as error:
            raise DamagedRecordsError(f"{self._path}: damaged ({error})") from error


def _records(data: bytes, position: int) -> list[bytes]:
    """The records of the chunk that begins at a position of the file; `data` begins there and
    reaches at least to its end."""
    view, pieces = memoryview(data), []
    first = -position % _BLOCK
    if first:
        pieces.append(view[:first])
    for begin in range(first, len(view), _BLOCK):
        pieces.append(view[begin + _BLOCK_HEADER : begin + _BLOCK])
    whole = memoryview(b"".join(pieces))
    size, kind_and_count, decoded = _CHUNK.unpack_from(whole, 0)
    kind, count = kind_and_count & 0xFF, kind_and_count >> 8
    body = whole[_CHUNK.size : _CHUNK.size + size]
    if kind != ord("r") or len(body) != size or not size:
        raise ValueError(f"a chunk of kind {chr(kind)!r} with {len(body)} of {size} bytes")
    codec = body[0]
    length, at_ = _varint(body, 1)
    sizes = _unpacked(body[at_ : at_ + length], codec, None)
    values = _unpacked(body[at_ + length :], codec, decoded)
    records, place, begin = [], 0, 0
    for _ in range(count):
        length, place = _varint(sizes, place)
        records.append(bytes(values[begin : begin + length]))
        begin += length
    if begin != len(values) or len(values) != decoded:
        raise ValueError(f"records of {begin} bytes, {decoded} expected")
    return records


def _unpacked(data: memoryview, codec: int, size: int | None) -> memoryview:
    if not codec:
        return data
    import pyarrow as pa

    stated, start = _varint(data, 0)
    if size is not None and stated != size:
        raise ValueError(f"{stated} bytes, {size} expected")
    if not stated:
        return memoryview(b"")
    found = pa.Codec(_CODECS[codec]).decompress(data[start:], stated, asbytes=True)
    return memoryview(found)


def _varint(data: memoryview | bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _fields(message: bytes) -> dict[int, Any]:
    """Numbers and byte strings of a protobuf message by field."""
    fields: dict[int, Any] = {}
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, place = _varint(message, place)
        fields[key >> 3] = number
        if key & 7 == 2:
            fields[key >> 3], place = message[place : place + number], place + number
        elif key & 7:
            raise ValueError(f"a field of kind {key & 7}")
    return fields
