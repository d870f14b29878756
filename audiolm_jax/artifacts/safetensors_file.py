"""Writing a safetensors file one array at a time: the library's writer wants all of them at once.

The format (github.com/huggingface/safetensors): the length of the header as eight bytes, a header
of JSON filled up with spaces to a multiple of eight, and the bytes of the arrays without gaps. The
bytes are those of the library's writer.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

# The library sorts by dtype, in this order, then by name.
_DTYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_RANK = {name: rank for rank, name in enumerate(_DTYPES)}


class SafetensorsWriter:
    """Writes the header at once, then each array at its place, in any order."""

    def __init__(self, file: BinaryIO, arrays: Mapping[str, Any]) -> None:
        """`arrays` need a `shape` and a `dtype` each; ValueError for a dtype without a name."""
        self._file = file
        for name, array in arrays.items():
            if array.dtype.name not in _DTYPES:
                raise ValueError(f"array {name!r}: safetensors have no dtype {array.dtype}")
        header, begin = {}, 0
        self._begins: dict[str, int] = {}
        for name in sorted(arrays, key=lambda n: (_RANK[arrays[n].dtype.name], n.encode())):
            dtype, shape = arrays[name].dtype, list(arrays[name].shape)
            end = begin + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            header[name] = {
                "dtype": _DTYPES[dtype.name],
                "shape": shape,
                "data_offsets": [begin, end],
            }
            self._begins[name] = begin
            begin = end
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file.write(struct.pack("<Q", len(text)) + text)
        self._data = 8 + len(text)

    def write(self, name: str, array: np.ndarray) -> None:
        """Writes one of the arrays, contiguous and little-endian."""
        self._file.seek(self._data + self._begins[name])
        self._file.write(bytes_of(array))


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array of any dtype, not copied."""
    return array.reshape(-1).view(np.uint8).data
