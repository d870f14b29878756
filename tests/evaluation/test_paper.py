"""The paper's tables: tasks run once, kills lose nothing, figures are those of the records."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.pairs.cloze import SETS
from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row
from audiolm_jax.evaluation.paper.figures import Figure, find_figure
from audiolm_jax.experiments.load import load_experiment

TASK = """
import dataclasses
from pathlib import Path
from typing import ClassVar
from audiolm_jax.evaluation.lifecycle import Evaluation

@dataclasses.dataclass(frozen=True)
class Task(Evaluation):
    page: ClassVar[str] = "table.md"
    record: ClassVar[str] = "report.json"
    directory: str

    def facts(self):
        return {}

    def data_facts(self):
        return {}

    def measure(self, facts):
        log = Path(self.directory).parent / "log"
        with log.open("a") as file:
            file.write(f"{Path(self.directory).name}\\n")
        if (Path(self.directory).parent / "kill").exists():
            raise KeyboardInterrupt
        (Path(self.directory) / "table.md").write_text("made")
        means = {"wer": {"mean": MEAN, "low": 1.0, "high": 9.0, "clips": 7}, "cer": None}
        means["rare"] = {"too_few": 3, "expected": 10}
        return {"data": {}, "rows": [{"system": "codec", "means": means}]}

def experiment():
    return Task(DIRECTORY)
"""


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("first", "second")):
        text = TASK.replace("MEAN", str(2.5 + number)).replace(
            "DIRECTORY", repr(str(tmp_path / "runs" / name))
        )
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "runs").mkdir()
    return tmp_path


def row(task="first", **changes):
    fields = {
        "table": "Table II: words",
        "what": "WER, codec",
        "paper": "2.6",
        "task": task,
        "figure": "rows / codec / means / wer",
    }
    return Row(**(fields | changes))


def experiment(folder, **changes):
    fields = {
        "directory": str(folder / "runs" / "paper"),
        "title": "Beside the paper",
        "tasks": tuple((name, str(folder / f"{name}.py")) for name in ("first", "second")),
        "rows": (row(), row("second", paper="", what="again", scale=10.0, digits=2)),
        "notes": ("<b>Mind</b> the difference.",),
    }
    return PaperExperiment(**(fields | changes))


def test_figures_stand_beside_the_papers(folder):
    page = experiment(folder).run()
    text = (page.parent / "paper.md").read_text()
    assert "## Table II: words" in text
    assert "| WER, codec | 2.6 | 2.5 | 1.0 to 9.0 | 7 | first |" in text
    assert "| again | \N{EN DASH} | 35.00 | 10.00 to 90.00 | 7 | second |" in text
    shown = page.read_text()
    assert "&lt;b&gt;Mind" in shown
    assert "1.0 to 9.0" in shown
    with (page.parent / "paper.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["paper"], float(line["ours"])) for line in lines] == [("2.6", 2.5), ("", 35.0)]
    record = json.loads((page.parent / "paper.json").read_text())
    assert record["rows"][0]["ours"] == dataclasses.asdict(Figure(2.5, 1.0, 9.0, 7))
    assert set(record["seconds"]) == {"first", "second"}


def test_too_few_items_are_said_to_be_so(folder):
    page = experiment(folder, rows=(row(figure="rows / codec / means / rare", scale=9.0),)).run()
    text = (page.parent / "paper.md").read_text()
    assert "| WER, codec | 2.6 | \N{EN DASH} | too few | 3 | first |" in text
    assert '"WER, codec",2.6,,,,3,first' in (page.parent / "paper.csv").read_text()


def test_a_kill_loses_no_finished_task(folder):
    one = experiment(folder)
    (folder / "runs" / "kill").touch()
    with pytest.raises(KeyboardInterrupt):
        one.run()
    (folder / "runs" / "kill").unlink()
    one = experiment(folder)
    page = one.run()
    one.run()
    assert (folder / "runs" / "log").read_text().split() == ["first", "first", "second"]
    # A task measured anew changes the tables.
    before = (folder / "runs" / "paper" / "paper.md").read_text()
    (folder / "second.py").write_text((folder / "second.py").read_text().replace("3.5", "14.25"))
    (folder / "runs" / "second" / "report.json").unlink()
    assert one.run() == page
    assert (folder / "runs" / "paper" / "paper.md").read_text() != before
    assert (folder / "runs" / "log").read_text().split()[3:] == ["second"]


ITEMS = """
import dataclasses
from pathlib import Path
from typing import ClassVar
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.evaluation.lifecycle import Evaluation

@dataclasses.dataclass(frozen=True)
class Task(Evaluation):
    page: ClassVar[str] = "table.md"
    record: ClassVar[str] = "report.json"
    directory: str

    def facts(self):
        self.moment()
        return {}

    def data_facts(self):
        return {}

    def moment(self):
        left = Path(self.directory).parent / "left"
        if left.exists():
            number = int(left.read_text()) - 1
            left.write_text(str(number))
            if number == 0:
                raise KeyboardInterrupt

    def measure(self, facts):
        self.moment()
        for item in range(3):
            path = Path(self.directory) / "sounds" / str(item)
            if not path.exists():
                self.moment()
                with (Path(self.directory).parent / "made").open("a") as log:
                    log.write(f"{Path(self.directory).name}{item} ")
                path.parent.mkdir(parents=True, exist_ok=True)
                write_text(path, str(item))
        self.moment()
        write_text(Path(self.directory) / self.page, "made")
        means = {"wer": {"mean": MEAN, "low": 1.0, "high": 9.0, "clips": 7}}
        return {"data": {}, "rows": [{"system": "codec", "means": means}]}

def experiment():
    return Task(DIRECTORY)
"""


def test_kills_at_any_moment_change_no_table_and_nothing_is_made_twice(tmp_path):
    """Two tasks of three sounds each, stopped at every moment there is, each run from where the
    one before ended."""
    folders = {}
    for run in ("whole", "killed"):
        folder = tmp_path / run
        (folder / "runs").mkdir(parents=True)
        for number, name in enumerate(("first", "second")):
            text = ITEMS.replace("MEAN", str(2.5 + number)).replace(
                "DIRECTORY", repr(str(folder / "runs" / name))
            )
            (folder / f"{name}.py").write_text(text)
        folders[run] = folder
    experiment(folders["whole"]).run()
    left, kills = folders["killed"] / "runs" / "left", 0
    while True:
        left.write_text(str(1 + kills % 7))
        try:
            experiment(folders["killed"]).run()
            break
        except KeyboardInterrupt:
            kills += 1
            assert kills < 100
    assert kills >= 5
    made = [(folder / "runs" / "made").read_text().split() for folder in folders.values()]
    assert made[0] == made[1] == [f"{x}{item}" for x in ("first", "second") for item in range(3)]
    tables = []
    for folder in folders.values():
        tables.append((folder / "runs/paper/paper.csv").read_bytes())
        text = (folder / "runs/paper/paper.md").read_text()
        tables[-1] += text[: text.index("## Time of each task")].encode()
        rows = json.loads((folder / "runs/paper/paper.json").read_text())["rows"]
        tables[-1] += json.dumps(rows).encode()
    assert tables[0] == tables[1]
    assert set(json.loads((folders["killed"] / "runs/paper/costs.json").read_text())) == {
        "first",
        "second",
    }


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("rows / Opus", r"report.json: rows has no 'Opus'; expected codec"),
        ("row", r"report.json: it has no 'row'; expected of, data, rows"),
        ("rows / codec / means / cer", "is no figure: nothing was measured"),
        ("rows / codec", r"rows / codec is no figure: \{"),
        ("rows / codec / means / wer / mean / x", "mean has no 'x'; expected nothing below"),
    ],
)
def test_a_figure_that_is_not_there_gets_one_line(folder, figure, message):
    with pytest.raises(InputError, match=message):
        experiment(folder, rows=(row(figure=figure),)).run()
    assert not (folder / "runs" / "paper" / "paper.md").exists()


def test_bad_lists_get_one_line(folder):
    with pytest.raises(InputError, match="--rows: task 'third' is not among --tasks: first"):
        experiment(folder, rows=(row("third"),))
    with pytest.raises(InputError, match=r"--tasks .*: expected at least one"):
        experiment(folder, tasks=())
    with pytest.raises(InputError, match="no such config file"):
        experiment(folder, tasks=(("first", str(folder / "none.py")),), rows=(row(),)).run()


def test_entries_of_lists_go_by_their_names(tmp_path):
    record = {
        "rows": [
            {"kind": "agreement", "group": "", "accuracy": {"mean": 0.6}},
            {"kind": "agreement", "group": "type", "accuracy": {"mean": 0.9}},
            {"condition": {"label": "light"}, "kbps": 6},
        ]
    }
    assert find_figure(record, "rows / agreement / accuracy", tmp_path) == Figure(0.6)
    assert find_figure(record, "rows / light / kbps", tmp_path) == Figure(6.0)


def test_rows_of_the_stories_are_those_that_their_tasks_write():
    """By the names that configs give to features, codecs and kinds of pairs."""
    folder = Path("configs/stories")
    paper = load_experiment(folder / "paper.py")
    tasks = {name: load_experiment(Path(place)) for name, place in paper.tasks}
    names = {}
    for task in ("abx", "abx_residual"):
        names[task] = {
            f"{x.name}, centroids"
            if x.source == "semantic"
            else f"{x.name}, vectors of {x.levels or (24 if x.name == 'residual' else 12)} levels"
            for x in tasks[task].features
        }
    names["evaluate_tokens"] = {"units, 1 level", "residual, 24 levels", "codec, 12 levels"}
    names["evaluate_tokens"] |= {f"codec, {n} levels" for n in tasks["evaluate_tokens"].levels}
    names["cloze"] = set(SETS.values())
    for task, expected in names.items():
        found = {row.figure.split(" / ")[1] for row in paper.rows if row.task == task}
        assert found == expected, task
    assert [label for label, _ in tasks["evaluate_tokens"].codecs] == ["units", "residual", "codec"]
    assert tasks["vocoder_residual"].model.levels == tasks["residual"].levels == 24
    order = list(tasks)
    for before, after in (
        ("vocoder_units", "evaluate_tokens"),
        ("residual", "vocoder_residual"),
        ("vocoder_residual", "abx_residual"),
        ("vocoder_residual", "evaluate_tokens"),
        ("detector", "evaluate_detector"),
        ("world", "evaluate_speakers"),
    ):
        assert order.index(before) < order.index(after)
    ablation = load_experiment(folder / "ablation.py")
    assert [name for name, _ in ablation.tasks][-3:] == [
        "coarse_alone",
        "bundle_alone",
        "world_alone",
    ]
    full, alone = (load_experiment(folder / f"{name}.py") for name in ("world", "world_alone"))
    same = ("data", "prompts", "prompt_seconds", "continuation_seconds", "seeds", "generation")
    assert all(getattr(full, name) == getattr(alone, name) for name in same)
    assert 0.6 in full.temperatures
