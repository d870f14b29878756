"""Whether the fields of a config have the types they are declared with.

The command line checks its own flags; a config file is Python, where nothing does.
"""

import dataclasses
import typing
from typing import Any

import typeguard

from audiolm_jax.errors import InputError

_ALL = typeguard.CollectionCheckStrategy.ALL_ITEMS


def check_types(config: Any, name: str = "") -> None:
    """InputError for the first field, of a dataclass or of those within it, with a wrong type."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        inner = f"{name}.{field.name}".lstrip(".")
        try:
            typeguard.check_type(value, hint, collection_check_strategy=_ALL)
        except typeguard.TypeCheckError:
            raise InputError(f"{inner} = {value!r}: expected {_spoken(hint)}") from None
        listed = enumerate(value) if isinstance(value, tuple) else ()
        for where, part in ((inner, value), *((f"{inner}.{i}", x) for i, x in listed)):
            if dataclasses.is_dataclass(part):
                check_types(part, where)


def _spoken(hint: Any) -> str:
    """A type as one reads it: the values of a Literal, the name of a class."""
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
