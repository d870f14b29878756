"""Fields of a config.json of the transformers library, each read with its type."""

import contextlib
from collections.abc import Iterator
from typing import Any

from audiolm_jax.errors import InputError


class PublishedFields:
    """The fields of a JSON object."""

    def __init__(self, fields: Any, where: str):
        if not isinstance(fields, dict):
            raise InputError(f"{where}: expected a JSON object")
        self._fields, self.where = fields, where

    def whole(self, name: str) -> int:
        """A whole number."""
        return self._read(name, lambda x: type(x) is int, "a whole number")

    def number(self, name: str) -> float:
        """A number."""
        return float(self._read(name, lambda x: type(x) in (int, float), "a number"))

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        is_list = lambda x: isinstance(x, list) and all(type(n) is int for n in x)  # noqa: E731
        return tuple(self._read(name, is_list, "a list of whole numbers"))

    def flag(self, name: str, absent: bool | None = None) -> bool:
        """True or false; `absent` where older files do not have the field."""
        if absent is not None and name not in self._fields:
            return absent
        return self._read(name, lambda x: type(x) is bool, "true or false")

    def expect(self, name: str, *values: Any, absent: bool = False) -> Any:
        """One of the values; `absent` if older files may lack the field and mean the first.

        Raises:
          InputError: another one, which this program does not compute.
        """
        if absent and name not in self._fields:
            return values[0]
        words = " or ".join(repr(value) for value in values)
        return self._read(name, lambda x: x in values, words)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Within it, what a config made of these fields refuses is told with the file."""
        try:
            yield
        except InputError as error:
            words = str(error)
            raise InputError(
                words if words.startswith(self.where) else f"{self.where}: {words}"
            ) from error

    def _read(self, name: str, fits: Any, words: str) -> Any:
        if name not in self._fields:
            raise InputError(f"{self.where}: field {name!r} is missing; expected {words}")
        value = self._fields[name]
        if not fits(value):
            raise InputError(f"{self.where}: {name} = {value!r}: expected {words}")
        return value
