"""Runs a list of tasks, each an experiment of its own; their figures beside the paper's."""

import csv
import dataclasses
import io
import json
import logging
import time
from pathlib import Path
from typing import Any, ClassVar

from audiolm_jax import __version__
from audiolm_jax.artifacts.atomic import write_json, write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell
from audiolm_jax.evaluation.page.render import Page
from audiolm_jax.evaluation.page.tables import Table, duration, number
from audiolm_jax.evaluation.paper.figures import Figure, find_figure
from audiolm_jax.experiments.base import Experiment

logger = logging.getLogger(__name__)

_COSTS = "costs.json"
_COLUMNS = ("table", "what", "paper", "ours", "low", "high", "items", "task")


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of the paper, and where ours is."""

    table: str
    """Heading that it stands under: "Table II: words"."""
    what: str
    """What is measured, where ours differs from the paper's."""
    paper: str
    """The paper's own figure, "" where it has none."""
    task: str
    """Name of the task that measures ours."""
    figure: str
    """Its place in the task's record, as `find_figure` reads it: "rows / units / error"."""
    digits: int = 1
    """Shown after the point."""
    scale: float = 1.0
    """Ours is multiplied by this: 100 for percent."""


@dataclasses.dataclass(frozen=True)
class PaperExperiment(Evaluation):
    """Run a list of tasks and print the paper's tables, its figures beside ours.

    A task is a config file of any kind: what it needs is trained, made or measured by the tasks
    before it. Finished ones are left alone, so an interrupted run goes on with the task that it was
    in; each can be run by itself.
    """

    page: ClassVar[str] = "paper.html"
    record: ClassVar[str] = "paper.json"

    directory: Place
    """Where paper.html, paper.md, paper.csv and paper.json go."""
    title: str
    """Heading of the page."""
    tasks: tuple[tuple[str, Place], ...]
    """(name, config file or `module:attribute`), in the order they run in."""
    rows: tuple[Row, ...] = ()
    """The figures."""
    notes: tuple[str, ...] = ()
    """What a reader must know to compare, a paragraph each."""
    licence: str = ""
    """License and attribution of the recordings, shown on the page."""

    def __post_init__(self) -> None:
        names = [name for name, _ in self.tasks]
        if not names or len({*names}) < len(names):
            raise InputError(f"--tasks {names}: expected at least one, none of them twice")
        if unknown := {row.task for row in self.rows} - {*names}:
            raise InputError(
                f"--rows: task {min(unknown)!r} is not among --tasks: {', '.join(names)}"
            )

    def run(self) -> Path:
        """Runs every task that is not finished, then lays the tables out."""
        with only_writer(Path(self.directory)):
            costs = self._costs()
            for name, experiment in self._experiments().items():
                logger.info("task %s: audiolm %s %s", name, experiment.verb, dict(self.tasks)[name])
                began = time.monotonic()
                try:
                    experiment.run()
                finally:  # what a stop left half done has been paid for, too
                    costs[name] = costs.get(name, 0.0) + time.monotonic() - began
                    write_json(Path(self.directory) / _COSTS, costs)
            return self._run()

    def facts(self) -> dict[str, Any]:
        """Hashes of the records of all tasks that rows name."""
        return {"records": {name: file_sha256(path) for name, path in self._records().items()}}

    def data_facts(self) -> dict[str, Any]:
        """Nothing: the tasks have theirs."""
        return {}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Reads the figures and writes tables and page."""
        records = self._records()
        read = {name: json.loads(path.read_text()) for name, path in records.items()}
        found = [find_figure(read[r.task], r.figure, records[r.task]) for r in self.rows]
        figures = [_scaled(figure, row.scale) for figure, row in zip(found, self.rows, strict=True)]
        content = PaperPage(
            title=self.title,
            summary=f"{len(self.rows)} figures of {len(records)} tasks.",
            sample_rate_hz=16000,
            examples=(),
            trainers=(),
            provenance={
                **{f"record of {name}": sha256 for name, sha256 in facts["records"].items()},
                "config": facts["config_hash"],
                "software": f"audiolm_jax {__version__}",
            },
            data_licence=self.licence,
            notes=self.notes,
            tables=self._tables(figures),
            costs=self._cost_table(),
        )
        directory = Path(self.directory)
        write_text(directory / "paper.md", content.markdown())
        write_text(directory / "paper.csv", self._csv(figures))
        write_text(directory / self.page, content.render())
        tell(content.markdown())
        rows = [
            {**dataclasses.asdict(row), "ours": dataclasses.asdict(figure)}
            for row, figure in zip(self.rows, figures, strict=True)
        ]
        return {"data": {}, "rows": rows, "seconds": self._costs()}

    def _experiments(self) -> dict[str, Experiment]:
        from audiolm_jax.experiments.load import load_experiment

        return {name: load_experiment(place) for name, place in self.tasks}

    def _records(self) -> dict[str, Path]:
        wanted, records = {row.task for row in self.rows}, {}
        for name, experiment in self._experiments().items():
            if name in wanted:
                if not isinstance(experiment, Evaluation):
                    kind = type(experiment).__name__
                    raise InputError(f"--rows: task {name!r} is a {kind}, which measures nothing")
                records[name] = Path(experiment.directory) / experiment.record
        return records

    def _costs(self) -> dict[str, float]:
        path = Path(self.directory) / _COSTS
        try:
            return json.loads(path.read_text()) if path.is_file() else {}
        except ValueError:  # not whole: counted anew
            return {}

    def _tables(self, figures: list[Figure]) -> tuple[Table, ...]:
        tables = []
        heads = ("", "paper", "ours", "95 % interval", "items", "task")
        for name in dict.fromkeys(row.table for row in self.rows):
            cells = [
                (
                    row.what,
                    row.paper or number(None, 0),
                    number(figure.value, row.digits),
                    _interval(figure, row.digits),
                    number(figure.items, 0),
                    row.task,
                )
                for row, figure in zip(self.rows, figures, strict=True)
                if row.table == name
            ]
            tables.append(Table(heads, cells, name))
        return tuple(tables)

    def _cost_table(self) -> Table:
        costs = self._costs()
        rows = [
            (name, f"{place}", duration(costs[name]) if name in costs else number(None, 0))
            for name, place in self.tasks
        ]
        return Table(("task", "config", "time"), rows, "Time of each task on this machine, so far")

    def _csv(self, figures: list[Figure]) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row, ours in zip(self.rows, figures, strict=True):
            own = ["" if x is None else x for x in dataclasses.astuple(ours)]
            writer.writerow((row.table, row.what, row.paper, *own, row.task))
        return out.getvalue()


@dataclasses.dataclass(frozen=True)
class PaperPage(Page):
    """Tables beside the paper's."""

    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    costs: Table

    def sections(self) -> dict[str, tuple[str, object]]:
        """All of them; see `Page`."""
        return {
            "paper": ("Tables", True),
            "costs": ("Cost", True),
            "provenance": ("Provenance", True),
        }

    def markdown(self) -> str:
        """The tables as Markdown."""
        parts = [f"# {self.title}\n", f"{self.summary}\n", *(f"{note}\n" for note in self.notes)]
        for table in (*self.tables, self.costs):
            parts += [f"## {table.caption}\n", table.markdown()]
        return "\n".join(parts)


def _scaled(figure: Figure, scale: float) -> Figure:
    value, low, high = (
        None if x is None else x * scale for x in (figure.value, figure.low, figure.high)
    )
    return Figure(value, low, high, figure.items)


def _interval(figure: Figure, digits: int) -> str:
    if figure.value is None:
        return "too few"
    if figure.low is None or figure.high is None:
        return number(None, 0)
    return f"{number(figure.low, digits)} to {number(figure.high, digits)}"
