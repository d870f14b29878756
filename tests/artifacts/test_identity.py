"""A config by what it decides: places are named apart, fields at their default may be new."""

import dataclasses
import json
import re

import pytest

from audiolm_jax.artifacts.identity import (
    Place,
    changes,
    described,
    is_moved,
    without_places,
)
from audiolm_jax.experiments.load import KINDS, kinds_of


@dataclasses.dataclass(frozen=True)
class Source:
    folder: Place
    rate: int = 16


@dataclasses.dataclass(frozen=True)
class Run:
    directory: Place
    data: Source
    listed: tuple[Source, ...] = ()
    pairs: tuple[tuple[str, Place], ...] = ()
    other: Place | None = None
    width: int = 8


RUN = Run("out", Source("data"), (Source("a"),), (("x", "b"),))


def stored(config):
    return json.loads(json.dumps(described(config)))


def test_places_are_absolute_whatever_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = described(RUN)["places"]
    assert places["config.data.folder"] == str(tmp_path / "data")
    assert places["config.listed.0.folder"] == str(tmp_path / "a")
    assert places["config.pairs"][0][1] == str(tmp_path / "b")
    assert places["config.other"] is None
    typed = dataclasses.replace(RUN, data=Source(f"{tmp_path}/x/../data/"))
    assert not is_moved(stored(RUN), described(typed))
    assert not is_moved(stored(RUN), described(dataclasses.replace(RUN, directory="there")))
    monkeypatch.chdir("/")
    assert is_moved(json.loads(json.dumps({"places": places})), described(RUN))


@pytest.mark.parametrize(
    "other",
    [
        {"directory": "there"},
        {"data": Source("/elsewhere")},
        {"listed": (Source("b"),)},
        {"pairs": (("x", "c"),)},
        {"other": "given"},
    ],
)
def test_a_place_is_no_change(other):
    assert list(changes(stored(RUN), described(dataclasses.replace(RUN, **other)))) == []


@pytest.mark.parametrize(
    ("other", "change"),
    [
        ({"width": 9}, ("config.width", 8, 9)),
        ({"data": Source("data", 24)}, ("config.data.rate", 16, 24)),
        ({"listed": (Source("a", 24),)}, ("config.listed.0.rate", 16, 24)),
        ({"listed": ()}, ("config.listed", [{"folder": "a", "rate": 16}], [])),
    ],
)
def test_a_field_that_decides_is_a_change(other, change):
    assert list(changes(stored(RUN), described(dataclasses.replace(RUN, **other)))) == [change]


def test_a_field_that_came_since_is_no_change_at_its_default():
    before = stored(RUN)
    del before["config"]["width"], before["config"]["listed"][0]["rate"]
    assert list(changes(before, described(RUN))) == []
    (change,) = changes(before, described(dataclasses.replace(RUN, width=9)))
    assert change == ("config.width", "absent", 9)
    (gone,) = changes({"config": {**stored(RUN)["config"], "lost": 1}}, described(RUN))
    assert gone == ("config.lost", 1, "absent")


def test_machines_are_compared_without_places():
    assert without_places(described(RUN)) == {
        "data": {"rate": 16}, "listed": [{"rate": 16}], "width": 8,
    }  # fmt: skip


def texts_of(cls, seen):
    """Names of the fields that hold free text, of a config class and all within."""
    for field in dataclasses.fields(cls):
        words = str(field.type)
        if re.search(r"\bstr\b", words):
            yield f"{cls.__name__}.{field.name}", "'place'" in words
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if dataclasses.is_dataclass(inner) and inner not in seen:
                seen.add(inner)
                yield from texts_of(inner, seen)


def test_every_text_of_every_experiment_is_a_place_or_known_to_be_none():
    found = {
        text for verb in KINDS for kind in kinds_of(verb) for text in texts_of(kind, seen=set())
    }
    assert {name.rpartition(".")[2] for name, is_place in found if not is_place} == {
        "title", "licence", "required", "layers", "layer", "name", "clips", "language", "dataset",
        "exclude", "best_metric", "wandb_project", "profile_steps", "fresh", "dropped", "renames",
        "beam_options", "split_by", "worker", "label", "classes", "part",
        "columns", "systems", "table", "what", "paper", "task", "figure", "notes", "purpose",
    }  # fmt: skip
    assert len({name for name, is_place in found if is_place}) > 15
