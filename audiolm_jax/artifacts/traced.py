"""Traced programs kept from one start to the next, beside what XLA made of them.

JAX keeps compiled programs (compilation_cache.py) and finds them by their text, for which Python
traces and lowers each anew at every start: half a second for a loop of decoding. Here the text
(StableHLO, written by `jax.export`) is kept too, and found by what decides it: the code of this
package, versions, JAX's settings, and what a program is told. Whether it was traced or read, the
same text is compiled, so results are the same. Nothing is unpickled.
"""

import functools
import hashlib
import importlib.metadata
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export

from audiolm_jax.artifacts.atomic import atomic_path

_PACKAGE = Path(__file__).resolve().parents[1]
# Beside which stages.py decides what is traced.
_ROOMS = ("nn", "audio", "lm", "tokenizers", "generation")
_VERSIONS = ("jax", "jaxlib", "flax", "numpy")
# Settings that change no program, by words in their names.
_IDLE = ("cache", "log", "dump", "traceback", "transfer", "platform", "raise", "client")
_DIGEST = 32  # bytes of a file, before its content, that tell whether it is whole


class Program:
    """A pure function of arrays, compiled once for its facts and the shapes of what it is given.

    Arguments are pytrees of arrays by position; keywords are static, and their `repr` says all that
    the function takes from them. What comes out may hold tuples, lists, and what
    `jax.export.register_namedtuple_serialization` was told of.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        facts: Sequence[Any] = (),
        donate: Sequence[int] = (),
    ):
        """`facts` are all that `fn` holds beside its code, which is this package's, as what has a
        `repr`; the arguments number `donate` are given up at a call."""
        self._fn, self._name, self._facts, self._donate = fn, name, tuple(facts), tuple(donate)
        self._compiled: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}

    def __call__(self, *args: Any, **static: Any) -> Any:
        """What the function gives, on one device, whatever mesh is in use."""
        if not jax.sharding.get_abstract_mesh().empty:
            with jax.set_mesh(None):
                return self(*args, **static)
        leaves, structure = jax.tree.flatten(args)
        shapes = tuple([(x.shape, x.dtype) for x in leaves])
        key = structure, shapes, tuple(static.items())
        if (compiled := self._compiled.get(key)) is not None:
            return compiled(*leaves)
        # Of threads that need the same, one compiles it and the others wait.
        with self._locks.setdefault(key, threading.Lock()):
            compiled = self._compiled.get(key) or self._compile(args, static)
            result = compiled(*leaves)
            self._compiled[key] = compiled
        return result

    @property
    def count(self) -> int:
        """How many programs there are by now, of other shapes or keywords."""
        return len(self._compiled)

    def _compile(self, args: tuple, static: dict[str, Any]) -> Any:
        leaves, structure = jax.tree.flatten(args)
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]

        def flat(*leaves: Any) -> Any:
            return self._fn(*jax.tree.unflatten(structure, leaves), **static)

        def trace() -> bytes:
            flat.__name__ = self._name
            return bytes(jax.export.export(jax.jit(flat))(*shapes).serialize())

        told = [str(structure), str(shapes), sorted((k, repr(v)) for k, v in static.items())]
        facts = [*map(repr, self._facts), *told]
        exported = jax.export.deserialize(bytearray(kept(f"{self._name}.stablehlo", facts, trace)))
        counts = [len(jax.tree.leaves(arg)) for arg in args]
        donate = [sum(counts[:i]) + n for i in self._donate for n in range(counts[i])]

        def call(*leaves: Any) -> Any:
            return exported.call(*leaves)

        call.__name__ = call.__qualname__ = self._name  # by which JAX names what it keeps
        return jax.jit(call, donate_argnums=donate)


def program_of(
    fn: Callable[..., Any], name: str, facts: Sequence[Any] | None, static: Sequence[str] = ()
) -> Any:
    """A `Program` of these facts; where there are none to tell its text by, as of code from
    outside, it is compiled by JAX alone. `static` are the names of its keywords."""
    return jax.jit(fn, static_argnames=static) if facts is None else Program(fn, name, facts)


def kept_shapes(
    name: str, facts: Sequence[Any], make: Callable[[], dict[str, tuple[int, ...]]]
) -> dict[str, tuple[int, ...]]:
    """Shapes of a network's arrays by name, in order; `make` builds it where they are not kept.
    `facts`, as of a `Program`, are all that decides them beside the code of this package."""

    def text() -> bytes:
        return json.dumps(list(make().items())).encode()

    found = json.loads(kept(f"{name}.shapes", [*map(repr, facts)], text))
    return {array: tuple(shape) for array, shape in found}


def kept(name: str, facts: list[Any], make: Callable[[], bytes]) -> bytes:
    """What `make` gives, or gave once to the same name, facts, code, versions and settings.

    It lies where JAX keeps compiled programs, if it does in a folder. What is damaged is made anew;
    where nothing can be written it is made at each start, as `use_compilation_cache` has said.
    """
    if (folder := _folder()) is None:
        return make()
    told = json.dumps([name, facts, _code(), _settings()])
    path = folder / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:32]}"
    try:
        found = path.read_bytes()
    except OSError:
        found = b""
    if found and hashlib.sha256(found[_DIGEST:]).digest() == found[:_DIGEST]:
        return found[_DIGEST:]
    content = make()
    try:
        with atomic_path(path) as scratch:
            scratch.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError:  # read-only or full
        pass
    return content


def _folder() -> Path | None:
    """Read at each call: a program may have chosen another."""
    settings = jax.config.values
    chosen = settings["jax_compilation_cache_dir"]
    if not chosen or not settings["jax_enable_compilation_cache"] or "://" in chosen:
        return None
    return Path(chosen) / "traced"


@functools.cache
def _code() -> str:
    """Of all files that may decide a program, and of the versions of what they import."""
    digest = hashlib.sha256()
    for name in _VERSIONS:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    files = [_PACKAGE / "stages.py", *(p for r in _ROOMS for p in (_PACKAGE / r).rglob("*.py"))]
    for path in sorted(files):
        digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _settings() -> list[str]:
    values = sorted(jax.config.values.items())
    found = [f"{k}={v!r}" for k, v in values if not any(word in k for word in _IDLE)]
    return [jax.default_backend(), *found]
