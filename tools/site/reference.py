"""Pages of the site that are made from the code: public names, fields of configs, help of verbs.

The text of a field is the one that tyro shows as the help of its flag: docstring_parser reads both.
"""

import contextlib
import dataclasses
import functools
import inspect
import io
import os
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import docstring_parser

import audiolm_jax
from audiolm_jax.cli.main import VERBS, main
from audiolm_jax.experiments.load import KINDS, kinds_of

FOLDER = "docs/reference"  # of these pages
# What `load_codec` and `load_semantic` return, beside the public names.
_PROTOCOLS = ("AcousticTokenizer", "SemanticTokenizer")
_TITLES = {
    "train": "Fields of what `audiolm train` trains",
    "tokenize": "Fields of `audiolm tokenize`",
    "evaluate": "Fields of what `audiolm evaluate` measures",
}
_WIDTH = 96  # columns of help texts


def write_pages(folder: Path) -> list[str]:
    """Writes all pages below the `folder` of the sources; returns their names, in order."""
    pages = {"python.rst": python_page(), "verbs.md": verbs_page()}
    pages |= config_pages()
    for name, text in pages.items():
        (folder / FOLDER / name).write_text(text, encoding="utf-8")
    return [f"{FOLDER}/{name}".rpartition(".")[0] for name in pages]


def python_page() -> str:
    """Every public name, by autodoc."""
    lines = ["Python", "======", ""]
    lines += ["What ``import audiolm_jax`` offers, from the docstrings.", ""]
    public = {name: getattr(audiolm_jax, name) for name in audiolm_jax.__all__}
    for name, value in sorted(public.items(), key=lambda item: isinstance(item[1], type)):
        lines += _rule(name) + _autodoc(f"audiolm_jax.{name}", value)
    lines += _rule("Tokenizers")
    lines += ["``load_codec`` and ``load_semantic`` return what answers these.", ""]
    for name in _PROTOCOLS:
        lines += _autodoc(f"audiolm_jax.types.{name}", getattr(audiolm_jax.types, name))
    return "\n".join(lines)


def _rule(title: str) -> list[str]:
    return [title, "-" * len(title), ""]


def _autodoc(place: str, value: Any) -> list[str]:
    if not isinstance(value, type):
        return [f".. autofunction:: {place}", ""]
    return [f".. autoclass:: {place}", "   :members:", "   :undoc-members:", ""]


def comment_of(place: str) -> str:
    """The comment behind a field of a class, where its shape and meaning stand; else ""."""
    *_, name, field = place.split(".")
    cls = getattr(audiolm_jax, name, None) or getattr(audiolm_jax.types, name)
    found = re.search(rf"^    {field}: [^#\n]*#\s*(.+)$", inspect.getsource(cls), re.MULTILINE)
    return found[1] if found else ""


def verbs_page() -> str:
    """The help of every verb, as it is printed."""
    parts = ["# The command line\n\nThe help of every verb, as `audiolm VERB --help` prints it.\n"]
    for verb, entry in VERBS.items():
        text = printed_help(verb)
        parts.append(f"## audiolm {verb}\n\n{entry.text[:1].upper()}{entry.text[1:]}.\n")
        parts.append(f"```text\n{text}\n```\n")
        if verb in KINDS:
            parts.append(f"The fields of each kind: [{verb}](config_{verb}.md).\n")
    return "\n".join(parts)


def printed_help(verb: str) -> str:
    """Of one verb."""
    plain = {"COLUMNS": str(_WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    out = io.StringIO()
    with (
        mock.patch.dict(os.environ, plain),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        main([verb, "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip("\n")


def config_pages() -> dict[str, str]:
    """A page a verb with its kinds of experiment, and one of the parts that they share."""
    parts: dict[str, type] = {}
    pages = {}
    for verb in KINDS:
        kinds = kinds_of(verb)
        text = [f"# {_TITLES[verb]}\n", _INTRODUCTION.format(verb=verb)]
        for kind in kinds:
            text.append(_section(kind, "config_parts.md"))
            parts |= {part.__name__: part for part in parts_of(kind)}
        pages[f"config_{verb}.md"] = "\n".join(text)
    text = ["# Parts of configs\n", "Dataclasses that are fields of experiments, by name.\n"]
    text += [_section(part, "") for _, part in sorted(parts.items())]
    return pages | {"config_parts.md": "\n".join(text)}


_INTRODUCTION = """A config file returns one of these, and each field is a flag:
`audiolm {verb} CONFIG.py --loop.steps 100` overrides the field `steps` of the field `loop`.
`audiolm {verb} CONFIG.py --help` prints the values of that config.
"""


def parts_of(config: type) -> Iterator[type]:
    """The dataclasses of the fields of one, and of theirs."""
    for hint in typing.get_type_hints(config).values():
        for part in _classes(hint):
            yield part
            yield from parts_of(part)


def _classes(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _classes(inner)


def _section(config: type, parts_page: str) -> str:
    about = docstring_parser.parse(config.__doc__ or "").description or ""
    lines = [f"## {config.__name__}\n", f"{about}\n", f"`{config.__module__}.{config.__name__}`\n"]
    texts, hints = field_texts(config), typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        default = _default(field)
        value = f" = `{default}`" if default else ""
        kind = _linked(hints[field.name], parts_page)
        lines.append(f"- **`{field.name}`**: {kind}{value}  \n  {texts[field.name]}")
    return "\n".join(lines) + "\n"


@functools.cache
def field_texts(config: type) -> dict[str, str]:
    """What stands under each field of a dataclass or of those that it extends, on one line."""
    texts = {}
    for cls in reversed(config.__mro__[:-1]):
        for param in docstring_parser.parse_from_object(cls).params:
            if param.description:
                texts[param.arg_name] = " ".join(param.description.split())
    return texts


def _default(field: "dataclasses.Field[Any]") -> str:
    """As one would write it; "" where there is none or it is that of another dataclass."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return ""
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}(...)" if value != _plain(value) else ""
    return repr(value)


def _plain(value: Any) -> Any:
    with contextlib.suppress(TypeError):  # fields without defaults
        return type(value)()
    return None


def _linked(hint: Any, page: str) -> str:
    """A type as one reads it, its dataclasses linked to where they are described."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[{hint.__name__}]({page}#{hint.__name__.lower()})"
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_linked(inner, page) for inner in arguments)
    if origin is typing.Literal:
        return " or ".join(f"`{value!r}`" for value in arguments)
    if origin is typing.Annotated:
        return _linked(arguments[0], page)
    if origin is not None and any(True for inner in arguments for _ in _classes(inner)):
        inner = ", ".join(_linked(x, page) for x in arguments if x is not Ellipsis)
        return f"{origin.__name__} of {inner}"
    if hint is type(None):
        return "`None`"
    name = hint.__name__ if isinstance(hint, type) and not arguments else str(hint)
    return f"`{re.sub(r'[a-z_.]*[.]', '', name)}`"
