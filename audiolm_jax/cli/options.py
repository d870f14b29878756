"""Command-line arguments into dataclasses; what tyro refuses becomes one line."""

import contextlib
import io
import os
import re
import shutil
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


_MOST_COLUMNS = 120  # of help of which a part is shown: one column of boxes
_PART = re.compile(r"^╭─ (.+?)(?: options| arguments)? ─+╮$", re.MULTILINE)
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


def show_part(
    cls: type[Options] | Callable[..., Options], part: str, program: str, default: Any = None
) -> None:
    """Prints what `--help` says of one part of the fields, such as loop, and of the parts in it;
    InputError if there is none."""
    held = io.TextIOWrapper(io.BytesIO(), "utf-8")  # which has the letters for boxes
    usual = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(min(shutil.get_terminal_size().columns, _MOST_COLUMNS))
    try:
        with contextlib.redirect_stdout(held), contextlib.suppress(SystemExit):
            parse(cls, ["--help"], program, default)
    finally:
        del os.environ["COLUMNS"]
        if usual is not None:
            os.environ["COLUMNS"] = usual
    held.seek(0)
    text = held.read()
    begins = [*_PART.finditer(text)]
    ends = [match.start() for match in begins[1:]] + [len(text)]
    boxes = {match[1]: text[match.start() : end] for match, end in zip(begins, ends, strict=True)}
    wanted = [box for name, box in boxes.items() if f"{name}.".startswith(f"{part}.")]
    if not wanted:
        known = dict.fromkeys(name.partition(".")[0] for name in boxes)
        raise InputError(f"--help {part}: expected one of {', '.join(known)}")
    print("".join(wanted), end="")


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
        said = _unknown(errors.getvalue()) or _one_line(errors.getvalue())
        mark = "?" if "did you mean" in said else ";"
        raise InputError(f"{said}{mark} see {program} --help") from None


def _unknown(box: str) -> str | None:
    """Which flag of tyro's framed error is none, and what is spelled like it."""
    text = "\n".join(_BOX.sub(" ", line).strip() for line in box.splitlines())
    if (found := re.search(r"Unrecognized (?:or misplaced )?options:\s+(\S+)", text)) is None:
        return None
    word = found[1].rstrip(",")
    if not word.startswith("-"):
        return f"{word!r}: not expected here"
    if "misplaced" in found[0]:
        owner = re.search(r"^in .*?(\S+:[\w-]+)\s+--help", text, re.MULTILINE | re.DOTALL)
        return f"{word}: belongs behind {owner[1] if owner else 'another word'}, which is not here"
    listed = text[found.end() :].partition(":\n")[2]
    near = dict.fromkeys(re.findall(r"^--(?!help$)[\w.-]+", listed, re.MULTILINE))
    return f"{word}: no such flag" + (f"; did you mean {' or '.join([*near][:2])}" if near else "")


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
