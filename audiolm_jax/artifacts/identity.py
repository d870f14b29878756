"""What a config decides, apart from where the things lie that it names: a run is known by what it
is. Paths are typed `Place`; what lies there is compared by its fingerprint instead."""

import dataclasses
import json
import os
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.outside import code_of, code_of_class, is_outside
from audiolm_jax.artifacts.storage import is_remote

_PLACE, _NAME = "place", "name"
Place = Annotated[str, _PLACE]
PlaceOrName = Annotated[str, _PLACE, _NAME]  # or `module:attribute`
ABSENT = "absent"
# New fields whose default is not what was done before them, with the value that is.
ADDED = {"edge_share": 0.0}


def described(config: Any) -> dict[str, Any]:
    """A config as JSON values: "config" its fields, and by dotted name "places", the absolute paths
    or addresses of what it names, and "chosen", the fields that are not at the default of their
    class; "code" if there is any from outside: the name and the code of each class and place."""
    code = dict(_code("config", config))
    return {
        "config": config_to_dict(config),
        "places": dict(_places("config", config)),
        "chosen": sorted(_chosen("config", config)),
        **({"code": code} if code else {}),
    }


def _code(name: str, config: Any) -> Iterator[tuple[str, dict[str, str]]]:
    if (code := code_of_class(type(config))) is not None:
        yield name, code
    for field, value in _fields(config):
        if _may_name(field.type) and is_outside(value):
            where = f"{name}.{field.name}"
            yield where, {"name": value, "code": code_of(value, where)}
        for inner, part in _parts(f"{name}.{field.name}", value):
            yield from _code(inner, part)


def _places(name: str, config: Any) -> Iterator[tuple[str, Any]]:
    for field, value in _fields(config):
        if _may_name(field.type) and is_outside(value):
            yield f"{name}.{field.name}", value
        elif _is_place(field.type):
            yield f"{name}.{field.name}", _absolute(value)
        else:
            for inner, part in _parts(f"{name}.{field.name}", value):
                yield from _places(inner, part)


def _chosen(name: str, config: Any) -> Iterator[str]:
    for field, value in _fields(config):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING or default != value:
            yield f"{name}.{field.name}"
        for inner, part in _parts(f"{name}.{field.name}", value):
            yield from _chosen(inner, part)


def _fields(config: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    return [(field, getattr(config, field.name)) for field in dataclasses.fields(config)]


def _parts(name: str, value: Any) -> list[tuple[str, Any]]:
    """The dataclasses that a field is or lists."""
    listed = list(enumerate(value)) if isinstance(value, tuple) else []
    parts = [(name, value), *((f"{name}.{i}", x) for i, x in listed)]
    return [(n, x) for n, x in parts if dataclasses.is_dataclass(x)]


def _is_place(hint: Any) -> bool:
    inner = typing.get_args(hint)
    return _PLACE in getattr(hint, "__metadata__", ()) or any(map(_is_place, inner))


def _may_name(hint: Any) -> bool:
    return _NAME in getattr(hint, "__metadata__", ())


def _absolute(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_absolute(x) for x in value]
    return os.path.realpath(value) if value and not is_remote(value) else value


def differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The dotted names whose JSON values differ, with both, `ABSENT` where there is none."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = ({str(i): x for i, x in enumerate(values)} for values in (old, new))
        if not any(isinstance(x, dict) for x in new.values()):
            old, new = list(old.values()), list(new.values())
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from differences(f"{name}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif json.dumps(old) != json.dumps(new):
        yield name, old, new


def changes(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """`differences` of the fields of two described configs that decide anything: neither of places
    nor of fields that came since and do what was done before. Classes from outside are known by
    their names: their code may change within a run, as this package may."""
    classes = [x.get("code", {}).get("config", {}).get("name") for x in (there, now)]
    if None not in classes and classes[0] != classes[1]:
        yield "code.config.name", *classes
    places = {*there.get("places", {}), *now["places"]}
    for name, old, new in differences("config", there.get("config", ABSENT), now["config"]):
        field = name.rpartition(".")[2]
        is_as_before = ADDED[field] == new if field in ADDED else name not in now["chosen"]
        if name not in places and not (old == ABSENT and is_as_before):
            yield name, old, new


def is_moved(there: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether anything but the directory itself lies elsewhere than it did, or nobody knows."""
    old = there.get("places", {})
    return any(old.get(n) != x for n, x in now["places"].items() if n != "config.directory")


def without_places(described: Mapping[str, Any]) -> Any:
    """The fields of a described config that are no places, to compare machines by."""

    def strip(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [strip(f"{name}.{i}", x) for i, x in enumerate(value)]
        if not isinstance(value, dict):
            return value
        inner = {key: f"{name}.{key}" for key in value}
        return {k: strip(n, value[k]) for k, n in inner.items() if n not in described["places"]}

    return strip("config", described["config"])
