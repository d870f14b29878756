"""Command-line arguments into dataclasses; what tyro refuses becomes one line."""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError

Options = TypeVar("Options")

_PLACES = tyro.constructors.ConstructorRegistry()


@_PLACES.primitive_rule
def _path(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """A `Path` may be an address."""
    if info.type is not Path:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=_place,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _place(words: list[str]) -> Path:
    if not words[0]:  # an empty variable of a shell, not the current folder
        raise ValueError("an empty path; name a file or folder")
    if "\0" in words[0]:
        raise ValueError("a path with a zero byte")
    sizes = [len(os.fsencode(part)) for part in words[0].split("/")]
    if max(sizes) > 255 or sum(sizes) + len(sizes) > 4096:
        raise ValueError("File name too long: 255 bytes at most, and 4095 with its folders")
    return at(words[0])


_BOX = re.compile(r"[╭╮╰╯│─]+|-{8,}")  # dashes where the terminal's encoding has no frames
_CLASS = re.compile(r"^Error parsing [A-Z]\w*: ")  # of fields, before what their own class says


def parse(
    cls: type[Options] | Callable[..., Options],
    arguments: Sequence[str],
    program: str,
    default: Any = None,
) -> Options:
    """Reads `arguments` into `cls`, or over the fields of `default`; `program` is how the command
    begins. SystemExit after `--help`; any other refusal is an InputError."""
    chosen = {} if default is None else {"default": default}
    with _one_line_errors(program):
        return tyro.cli(cls, args=list(arguments), prog=program, registry=_PLACES, **chosen)


def parse_known(
    cls: type[Options], arguments: Sequence[str], program: str
) -> tuple[Options, list[str]]:
    """As `parse`, but what `cls` does not know comes back beside it, in order."""
    with _one_line_errors(program):
        return tyro.cli(
            cls, args=list(arguments), prog=program, registry=_PLACES, return_unknown_args=True
        )


@contextlib.contextmanager
def _one_line_errors(program: str) -> Iterator[None]:
    errors = io.StringIO()
    if os.environ.get("NO_COLOR"):  # which tyro does not look at
        tyro._experimental_options["ansi_codes"] = False
    try:
        with contextlib.redirect_stderr(errors):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"{_one_line(errors.getvalue())}; see {program} --help") from None


def _one_line(box: str) -> str:
    """The message of tyro's framed error, without frame, title, rules and help text."""
    message: list[str] = []
    for line in (_BOX.sub(" ", line).strip() for line in box.splitlines()[1:]):
        if not line or line.startswith(("Argument helptext", "For full helptext")):
            if message and line:
                break
            continue
        message.append(line)
    return _CLASS.sub("", re.sub(r"\s+", " ", " ".join(message)))
