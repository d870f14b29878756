"""Reads the centroids of a k-means that joblib pickled, executing nothing that the file names.

A pickle is a program, whose instructions may import any function and call it. Here Python's own
unpickler runs only those that plain values, dictionaries and objects need, and each of the few
names it accepts stands for an inert record. joblib writes the bytes of an array behind the
instruction that completes the record of its shape.
"""

import io
import math
import pickle
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.errors import InputError

MOST_BYTES = 2**30


class _Record:
    """Stands for what the pickle would have made: what it was called with, and its state."""

    def __init__(self, arguments: tuple) -> None:
        self.arguments = arguments
        self.state: Any = None


class _Estimator(_Record): ...


class _Dtype(_Record): ...


class _Wrapper(_Record): ...  # shape and type of an array, whose bytes follow


_NAMES: dict[tuple[str, str], type[_Record]] = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
    ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
    ("sklearn.cluster._kmeans", "KMeans"): _Estimator,
    ("sklearn.cluster._kmeans", "MiniBatchKMeans"): _Estimator,
    ("sklearn.cluster.k_means_", "KMeans"): _Estimator,
    ("sklearn.cluster.k_means_", "MiniBatchKMeans"): _Estimator,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Record,
    # Parts of a k-means that are not looked at: single numbers and the random generator.
    ("numpy.core.multiarray", "scalar"): _Record,
    ("numpy._core.multiarray", "scalar"): _Record,
    ("numpy.random", "__RandomState_ctor"): _Record,
    ("numpy.random._pickle", "__randomstate_ctor"): _Record,
    ("numpy.random._pickle", "__bit_generator_ctor"): _Record,
    ("numpy.random._mt19937", "MT19937"): _Record,
    ("_codecs", "encode"): _Record,
}
_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "SHORT_BINUNICODE BINUNICODE SHORT_BINBYTES BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST APPEND APPENDS EMPTY_DICT BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL "
    "STACK_GLOBAL"
)
_CODES = [getattr(pickle, name)[0] for name in _INSTRUCTIONS.split()]


def read_kmeans_file(path: Path) -> np.ndarray:
    """The centroids, float32 [K, d], of a scikit-learn k-means in a joblib file, plain or zlib.

    Such as fairseq's `hubert_base_ls960_L9_km500.bin`. InputError if it asks for anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES} bytes; no k-means file is")
    content = path.read_bytes()
    if content[:1] == b"\x78":
        content = _decompress(content, path)
    if content[:1] != b"\x80":
        how = "plain or with compress=('zlib', 3); save the k-means so"
        raise InputError(f"{path}: not a joblib file as written by joblib.dump, {how}")
    try:
        estimator = _Unpickler(io.BytesIO(content)).load()
    except _RefusedError as error:
        how = "which no k-means needs; nothing of it was executed; take the file from its publisher"
        raise InputError(f"{path}: asks for {error}, {how}") from None
    except Exception as error:  # a damaged pickle raises anything
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(estimator, _Estimator):
        raise InputError(f"{path}: holds no k-means of scikit-learn")
    state = estimator.state if isinstance(estimator.state, dict) else {}
    centroids = state.get("cluster_centers_")
    if not isinstance(centroids, np.ndarray) or centroids.ndim != 2 or not centroids.size:
        raise InputError(f"{path}: the k-means has no cluster_centers_ [K, d]; fit it first")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(centroids, np.float32)
    if centroids.dtype.kind != "f" or not np.isfinite(numbers).all():
        raise InputError(f"{path}: cluster_centers_ are not finite numbers of single precision")
    return numbers


def _decompress(content: bytes, path: Path) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        plain = decompressor.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise InputError(f"{path}: damaged zlib stream ({error})") from None
    if not decompressor.eof:
        raise InputError(f"{path}: cut short, or larger than {MOST_BYTES} bytes uncompressed")
    return plain


class _RefusedError(Exception):
    """The file asks for what no k-means needs."""


def _refuse(unpickler: Any) -> None:
    raise _RefusedError("an instruction of another kind")


def _set_items(unpickler: Any, items: list[Any]) -> None:
    # A tuple of tuples of tuples may have 2^100 leaves to hash.
    if not all(isinstance(key, str | int) for key in items[::2]):
        raise _RefusedError("a dictionary whose keys are neither words nor numbers")
    unpickler.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _call(unpickler: Any) -> None:
    arguments, called = unpickler.stack.pop(), unpickler.stack.pop()
    if not isinstance(called, type) or not isinstance(arguments, tuple):
        raise _RefusedError("a call of something that is no name")
    unpickler.append(called(arguments))


def _build(unpickler: Any) -> None:
    state, record = unpickler.stack.pop(), unpickler.stack[-1]
    if not isinstance(record, _Record):
        raise _RefusedError("the state of something that is no record")
    record.state = state
    if isinstance(record, _Wrapper):
        unpickler.stack[-1] = _read_array(unpickler.stream, state)


class _Unpickler(pickle._Unpickler):
    """The one in Python: that in C hashes what a file nests and allots what it announces."""

    dispatch = (
        dict.fromkeys(range(256), _refuse)
        | {code: pickle._Unpickler.dispatch[code] for code in _CODES}
        | {
            pickle.SETITEM[0]: lambda me: _set_items(me, [me.stack.pop(-2), me.stack.pop()]),
            pickle.SETITEMS[0]: lambda me: _set_items(me, me.pop_mark()),
            pickle.REDUCE[0]: _call,
            pickle.NEWOBJ[0]: _call,
            pickle.BUILD[0]: _build,
        }
    )

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.stream = stream

    def find_class(self, module: str, name: str) -> type[_Record]:
        """Nothing is looked up or imported, whatever the name."""
        if (module, name) not in _NAMES:
            raise _RefusedError(f"the name {f'{module}.{name}'[:80]!r}")
        return _NAMES[module, name]


def _read_array(stream: io.BytesIO, state: dict[str, Any]) -> np.ndarray:
    shape, order, dtype = state["shape"], state["order"], _number_type(state["dtype"])
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape[:8]):
        raise ValueError("an array without shape")
    if order not in ("C", "F") or len(shape) > 8:
        raise ValueError("an array without order, or of more than 8 dimensions")
    if state.get("numpy_array_alignment_bytes") is not None:
        (padding,) = stream.read(1)
        stream.seek(padding, io.SEEK_CUR)
    size = math.prod(shape) * dtype.itemsize
    if size > len(stream.getbuffer()) - stream.tell():
        raise ValueError(f"cut short: an array of {size} bytes is not there")
    return np.frombuffer(stream.read(size), dtype).reshape(shape, order=order)


def _number_type(record: Any) -> np.dtype:
    if not isinstance(record, _Dtype):
        raise ValueError("an array without type")
    code, byte_order = record.arguments[0], "|" if record.state is None else record.state[1]
    if not isinstance(code, str) or not re.fullmatch(r"[fiub][1248]", code):
        raise _RefusedError("an array of something else than numbers")
    if byte_order not in ("<", ">", "|", "="):
        raise ValueError("an unknown byte order")
    return np.dtype(byte_order + code)
