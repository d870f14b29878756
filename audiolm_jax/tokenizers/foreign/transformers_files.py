"""Reads what the transformers library saves: model.safetensors, and config.json by its fields."""

import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from audiolm_jax.errors import InputError

WEIGHTS, CONFIG = "model.safetensors", "config.json"

# Type of a field of ours -> what theirs has to be, whether it is, and ours from it.
_KINDS: dict[Any, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    int: ("a whole number", lambda x: type(x) is int, int),
    float: ("a number", lambda x: type(x) in (int, float), float),
    bool: ("true or false", lambda x: type(x) is bool, bool),
    tuple[int, ...]: (
        "a list of whole numbers",
        lambda x: isinstance(x, list) and all(type(n) is int for n in x),
        tuple,
    ),
}


class PublishedFields:
    """The fields of a JSON object; `absent` tells what files without a field mean by that."""

    def __init__(self, fields: Any, where: str, absent: Mapping[str, Any] | None = None) -> None:
        if not isinstance(fields, dict):
            raise InputError(f"{where}: expected a JSON object")
        self._fields, self.where = {**(absent or {}), **fields}, where

    def read(self, name: str, kind: Any) -> Any:
        """A field as int, float, bool, tuple[int, ...] or one of a `Literal`."""
        if typing.get_origin(kind) is Literal:
            return self.expect(name, *typing.get_args(kind))
        words, fits, convert = _KINDS[kind]
        return convert(self._read(name, fits, words))

    def expect(self, name: str, *values: Any) -> Any:
        """One of the values; InputError for others, which are not computed here."""
        return self._read(name, lambda x: x in values, " or ".join(map(repr, values)))

    def _read(self, name: str, fits: Callable[[Any], bool], words: str) -> Any:
        if name not in self._fields:
            raise InputError(f"{self.where}: field {name!r} is missing; expected {words}")
        value = self._fields[name]
        if not fits(value):
            raise InputError(f"{self.where}: {name} = {value!r}: expected {words}")
        return value


def read_safetensors_folder(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config and the arrays by name, from the folder or the safetensors file in it."""
    weights = path / WEIGHTS if path.is_dir() else path
    config = weights.parent / CONFIG
    for file in (weights, config):
        if not file.is_file():
            raise InputError(f"{file}: not found; expected {WEIGHTS} and {CONFIG} in one folder")
    try:
        return read_json(config), load_file(weights)
    except SafetensorError as error:
        raise InputError(f"{weights}: damaged ({error}); download it again") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); download it again") from error
