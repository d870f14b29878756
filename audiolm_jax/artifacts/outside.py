"""Parts that live in packages of their own, named `module:attribute`.

A name in a config or on the command line is imported: whoever wrote it there meant it. A name in a
model folder is imported only from modules that the user has said to trust (`trust`, `--trust`): a
bundle of somebody else must run no code by naming it.
"""

import contextlib
import difflib
import functools
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.errors import InputError

# tfds:NAME is a dataset of TFDS.
_NAME = re.compile(r"(?!tfds:)[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)
_CONFIG_FILE = "config_"  # begins the names of modules that are config files
_OWN = __name__.partition(".")[0]
_SPECIAL = ("__len__", "__getitem__", "__call__")
_trusted: frozenset[str] = frozenset()


def is_outside(name: str) -> bool:
    """Whether a text is `module:attribute`. A folder called so is named ./module:attribute."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def resolve(name: str, where: str) -> Any:
    """What `module:attribute` names, imported; `where`, a flag or file, begins an InputError."""
    path, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise InputError(f"{where}: {name}: {path} needs a module that is missing: "
                             f"{error.name}; install it") from error  # fmt: skip
        raise InputError(
            f"{where}: {name}: no module {error.name}; install its package, or put the folder that "
            "holds it into PYTHONPATH"
        ) from error
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where}: {name}: {path}: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, vars(module), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{where}: {name}: module {path} has no {attribute}{hint}")
    return getattr(module, attribute)


def made_by(name: str, where: str, protocol: type, *arguments: Any) -> Any:
    """What the function or class of this name gives for some arguments, which must have every
    member of a protocol."""
    make = resolve(name, where)
    if not callable(make):
        raise InputError(
            f"{where}: {name}: is a {type(make).__name__}, expected a function or class"
        )
    try:
        made = make(*arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from within
        raise InputError(f"{where}: {name}: {error}") from error
    if missing := [member for member in members(protocol) if not hasattr(made, member)]:
        raise InputError(
            f"{where}: {name}: gives a {type(made).__name__} without {', '.join(missing)}, which "
            f"{protocol.__module__}.{protocol.__name__} asks for"
        )
    return made


def members(protocol: type) -> list[str]:
    """Names of what a protocol asks for."""
    found: dict[str, None] = {}
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base.__module__ != "typing":
            names = {**vars(base).get("__annotations__", {}), **vars(base)}
            found |= dict.fromkeys(n for n in names if not n.startswith("_") or n in _SPECIAL)
    return list(found)


def code_of(name: str, where: str) -> str:
    """By what the code behind a name is known: "mypackage 1.2" if a distribution of that version
    has installed it, else "sha256:" and the hash of the file that defines it."""
    value = resolve(name, where)
    module = sys.modules.get(getattr(value, "__module__", None) or "", None)
    return _code_of_module(module or sys.modules[name.partition(":")[0]], where)


def code_of_class(cls: type) -> dict[str, str] | None:
    """Name and code of a class from outside; None for those of this package and without a file. A
    class of a config file goes by its own name alone: where the file lies decides nothing."""
    if cls.__module__.partition(".")[0] == _OWN:
        return None
    module = sys.modules.get(cls.__module__)
    if module is None or getattr(module, "__file__", None) is None:
        return None
    prefix = "" if cls.__module__.startswith(_CONFIG_FILE) else f"{cls.__module__}:"
    return {"name": prefix + cls.__qualname__, "code": _code_of_module(module, cls.__qualname__)}


def _code_of_module(module: ModuleType, where: str) -> str:
    if (file := getattr(module, "__file__", None)) is None:
        raise InputError(f"{where}: {module.__name__} has no file, by which its code is known")
    return _code_of_file(module.__name__.partition(".")[0], file)


@functools.cache
def _code_of_file(package: str, file: str) -> str:
    for name in importlib.metadata.packages_distributions().get(package, ()):
        distribution = importlib.metadata.distribution(name)
        # One that was installed for editing lists no files of its package.
        if any(
            Path(str(distribution.locate_file(f))) == Path(file) for f in distribution.files or ()
        ):
            return f"{distribution.name} {distribution.version}"
    return f"sha256:{file_sha256(Path(file))}"


def trust(*modules: str) -> None:
    """Lets model folders run code of these modules and of what lies below them, from now on."""
    global _trusted
    if odd := [name for name in modules if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name)]:
        raise InputError(f"--trust {odd[0]}: expected the name of a module, such as mypackage")
    _trusted |= {*modules}


def trusted() -> tuple[str, ...]:
    """The modules that are trusted, for `trust` in another process."""
    return tuple(sorted(_trusted))


@contextlib.contextmanager
def trusting(*modules: str) -> Iterator[None]:
    """`trust` for as long as the context lasts."""
    global _trusted
    before = _trusted
    try:
        trust(*modules)
        yield
    finally:
        _trusted = before


def check_trusted(name: str, where: str) -> None:
    """InputError unless the module of a name is trusted; nothing is imported."""
    parts = name.partition(":")[0].split(".")
    if not _trusted & {".".join(parts[: size + 1]) for size in range(len(parts))}:
        raise InputError(
            f"{where}: runs code of the module {'.'.join(parts)}; if you know it and want that, "
            f"add --trust {parts[0]}, or audiolm_jax.trust({parts[0]!r}) in Python"
        )


def check_code(name: str, code: str | None, where: str) -> None:
    """InputError unless the code behind a name is what a model folder was written with."""
    if (here := code_of(name, where)) != code:
        raise InputError(
            f"{where}: was written with {_short(code)} of {name}, here is {_short(here)}, which "
            "may give other results: install that one, or write the model folder again with this"
        )


def _short(code: str | None) -> str:
    text = "no code" if code is None else str(code)
    return text[:23] if text.startswith("sha256:") else text
