"""Reads the centroids of a k-means that joblib pickled, executing nothing that the file names.

A pickle is a program for a stack machine, whose instructions may import any function and call it.
Here an own machine runs the few instructions that plain values, dictionaries and objects need. A
class or function is only a name to it: what the program would call becomes an inert record of the
name, the arguments and the state. Names beyond those of a scikit-learn k-means, and any other
instruction, end the reading. Values that a file may nest without bound are never printed or hashed.

joblib writes an array as a record of its shape and type, and after the instruction that completes
the record the array's bytes, outside the pickle's own grammar.
"""

import dataclasses
import io
import math
import pickletools
import re
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from audiolm_jax.errors import InputError

MOST_BYTES = 2**30
_WRAPPERS = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"),
}
_ESTIMATORS = {
    (module, name)
    for module in ("sklearn.cluster._kmeans", "sklearn.cluster.k_means_")
    for name in ("MiniBatchKMeans", "KMeans")
}
_DTYPE = ("numpy", "dtype")
_NAMES = (
    _WRAPPERS
    | _ESTIMATORS
    | {
        _DTYPE,
        ("numpy", "ndarray"),
        # Parts of a k-means that are not looked at: single numbers and the random generator.
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy.random", "__RandomState_ctor"),
        ("numpy.random._pickle", "__randomstate_ctor"),
        ("numpy.random._pickle", "__bit_generator_ctor"),
        ("numpy.random._mt19937", "MT19937"),
        ("_codecs", "encode"),
    }
)
_MARK = object()


@dataclasses.dataclass(frozen=True)
class _Name:
    """A class or function that the pickle names. It is never looked up."""

    module: str
    name: str

    @property
    def pair(self) -> tuple[str, str]:
        return (self.module, self.name)


@dataclasses.dataclass(eq=False)
class _Record:
    """What the pickle would have made by calling `name`; nothing was called."""

    name: _Name
    arguments: tuple
    state: Any = None


def read_kmeans_file(path: Path) -> np.ndarray:
    """The centroids [K, d], float32, of a scikit-learn k-means in a joblib file.

    Such as `hubert_base_ls960_L9_km500.bin` of fairseq; uncompressed, or compressed by zlib.

    Raises:
      InputError: not such a file, or one that asks for anything else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES} bytes; no k-means file is")
    content = path.read_bytes()
    if content[:1] == b"\x78":
        content = _decompress(content, path)
    if content[:1] != b"\x80":
        raise InputError(
            f"{path}: not a joblib file as written by joblib.dump, plain or with compress=('zlib', "
            "3); save the k-means so"
        )
    try:
        found = _Machine(io.BytesIO(content), path).run()
    except InputError:  # a ValueError, too
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:100]})") from None
    if not isinstance(found, _Record) or found.name.pair not in _ESTIMATORS:
        raise InputError(f"{path}: holds no k-means of scikit-learn")
    state = found.state if isinstance(found.state, dict) else {}
    centroids = state.get("cluster_centers_")
    if not isinstance(centroids, np.ndarray) or centroids.ndim != 2 or not centroids.size:
        raise InputError(f"{path}: the k-means has no cluster_centers_ [K, d]; fit it first")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(centroids, np.float32)
    if centroids.dtype.kind != "f" or not np.isfinite(numbers).all():
        raise InputError(f"{path}: cluster_centers_ are not finite numbers of single precision")
    return numbers


def _decompress(content: bytes, path: Path) -> bytes:
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise InputError(f"{path}: damaged zlib stream ({error})") from None
    if not machine.eof:
        raise InputError(f"{path}: cut short, or larger than {MOST_BYTES} bytes uncompressed")
    return plain


class _Machine:
    """Runs one pickle."""

    def __init__(self, stream: io.BytesIO, path: Path):
        self.stream, self.path = stream, path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value left at the end."""
        # genops reads one instruction at a time, so that arrays can be read between two of them.
        for instruction, argument, _ in pickletools.genops(self.stream):
            if instruction.name == "STOP":
                return self.stack.pop()
            self._step(instruction.name, argument)
        raise ValueError("no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "SHORT_BINUNICODE" | "BINUNICODE" | "SHORT_BINBYTES" | "BINBYTES":
                stack.append(argument)
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}[name])
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack.append(tuple(self._pop() for _ in range(count))[::-1])
            case "APPEND" | "APPENDS":
                items = [self._pop()] if name == "APPEND" else self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                pairs = self._pop_to_mark() if name == "SETITEMS" else [self._pop(), self._pop()]
                if name == "SETITEM":
                    pairs.reverse()
                if not all(isinstance(key, str | int) for key in pairs[::2]):
                    self._refuse("a dictionary whose keys are neither words nor numbers")
                self._top(dict).update(zip(pairs[::2], pairs[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                self._push_name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                attribute, module = self._pop(), self._pop()
                self._push_name(module, attribute)
            case "REDUCE" | "NEWOBJ":
                arguments, called = self._pop(), self._pop()
                if not isinstance(called, _Name) or not isinstance(arguments, tuple):
                    self._refuse("a call of something that is no name")
                stack.append(_Record(called, arguments))
            case "BUILD":
                state = self._pop()
                record = self._top(_Record)
                record.state = state
                if record.name.pair in _WRAPPERS:
                    stack[-1] = self._read_array(state)
            case _:
                self._refuse(f"the instruction {name}")

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _pop_to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"a {type(self.stack[-1]).__name__} where a {kind.__name__} should be")
        return self.stack[-1]

    def _push_name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no word")
        if (module, name) not in _NAMES:
            self._refuse(f"the name {f'{module}.{name}'[:80]!r}")
        self.stack.append(_Name(module, name))

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.path}: asks for {what}, which the arrays of a k-means do not need; nothing of "
            "it was executed; take the file from its publisher"
        )

    def _read_array(self, state: Any) -> np.ndarray:
        """The bytes that follow the record of an array."""
        shape, order, dtype = (state[name] for name in ("shape", "order", "dtype"))
        dtype = self._dtype(dtype)
        if order not in ("C", "F") or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array without shape or order")
        if state.get("numpy_array_alignment_bytes") is not None:
            (padding,) = self.stream.read(1)
            self.stream.seek(padding, io.SEEK_CUR)
        size = math.prod(shape) * dtype.itemsize
        if size > len(self.stream.getbuffer()) - self.stream.tell():
            raise ValueError(f"cut short: an array of {size} bytes is not there")
        array = np.frombuffer(self.stream.read(size), dtype)
        return array.reshape(shape, order=order)

    def _dtype(self, record: Any) -> np.dtype:
        """Plain numbers only."""
        if not isinstance(record, _Record) or record.name.pair != _DTYPE:
            raise ValueError("an array without type")
        code, byte_order = record.arguments[0], "|" if record.state is None else record.state[1]
        if not isinstance(code, str) or not re.fullmatch(r"[fiub][1248]", code):
            self._refuse("an array of something else than numbers")
        if byte_order not in ("<", ">", "|", "="):
            raise ValueError("an unknown byte order")
        return np.dtype(byte_order + code)
