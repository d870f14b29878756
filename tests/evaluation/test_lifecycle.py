"""An evaluation is finished if what it measured is the same, wherever that lies."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.console import show_log
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell


@dataclasses.dataclass(frozen=True)
class Count(Evaluation):
    page: ClassVar[str] = "page.md"
    record: ClassVar[str] = "page.json"
    directory: Place
    data: Place
    words: int = 1

    def facts(self):
        return {"version": 3}

    def data_facts(self):
        return {"content": open(self.data).read()}

    def measure(self, facts):
        with pytest.raises(InputError, match="another process"):
            only_writer(Path(self.directory)).__enter__()
        with open(f"{self.directory}/{self.page}", "a") as page:
            page.write("x")
        return {"data": self.data_facts()}


@pytest.fixture
def count(tmp_path):
    (tmp_path / "data").write_text("one")
    count = Count(str(tmp_path / "out"), str(tmp_path / "data"))
    count.run()
    return count


def times(experiment):
    return len(experiment.run().read_text())


def test_moved_it_is_left_alone(count, tmp_path, monkeypatch):
    assert times(count) == 1
    (tmp_path / "data").rename(tmp_path / "there")
    (tmp_path / "out").rename(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert times(Count("here", "there")) == 1
    (tmp_path / "again").write_text("two")
    assert times(Count("here", "again")) == 2


def test_another_field_or_fact_measures_anew(count, monkeypatch):
    assert times(dataclasses.replace(count, words=2)) == 2
    monkeypatch.setattr(Count, "facts", lambda self: {"version": 4})
    assert times(dataclasses.replace(count, words=2)) == 3


def test_a_damaged_record_is_named(count, tmp_path):
    record = tmp_path / "out" / "page.json"
    assert json.loads(record.read_text())["data"] == {"content": "one"}
    record.write_text("{")
    with pytest.raises(InputError, match=r"page\.json: damaged .*delete it"):
        count.run()


def test_a_table_is_told_line_by_line_as_it_is(capsys):
    show_log()
    tell("| a % | b |\n| --- | --- |\n| 1 | 2 |\n")
    assert capsys.readouterr().out == "| a % | b |\n| --- | --- |\n| 1 | 2 |\n"
