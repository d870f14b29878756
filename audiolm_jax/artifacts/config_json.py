"""Frozen config dataclasses to JSON and back, strictly: unknown or missing fields are errors."""

import dataclasses
import json
from typing import Any, TypeVar, cast

import dacite

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.errors import InputError

Config = TypeVar("Config")


def config_to_dict(config: Any) -> dict[str, Any]:
    """The fields of a config dataclass as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from_dict(cls: type[Config], fields: dict[str, Any], where: str) -> Config:
    """Builds a config from JSON values; an unknown, missing or mistyped field is an InputError."""
    known = {field.name for field in dataclasses.fields(cast(Any, cls))}
    if missing := sorted(known - fields.keys()):
        raise InputError(f"{where}: field {missing[0]!r} of {cls.__name__} is missing")
    try:
        return dacite.from_dict(cls, fields, dacite.Config(strict=True, cast=[tuple]))
    except dacite.DaciteError as error:
        raise InputError(f"{where}: {cls.__name__}: {error}") from error


def config_hash(config: Any) -> str:
    """16 hexadecimal digits that name the resolved config."""
    return fingerprint(config_to_dict(config))
