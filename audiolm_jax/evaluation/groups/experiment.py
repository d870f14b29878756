"""For whom it works worse: reports of evaluations by any column of the recordings' metadata."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GroupsExperiment(Evaluation):
    """Split what was measured by accent, gender, speaker or any other column, and test what
    differs."""

    page: ClassVar[str] = "groups.md"
    record: ClassVar[str] = "groups.json"

    directory: Place
    """Where groups.md, groups.csv and groups.json go."""
    data: AudioDataConfig
    """The recordings that the reports are about, with their metadata; all of them count."""
    reports: tuple[tuple[str, Place], ...]
    """(label, directory) of finished evaluations: of codecs, of a world of words, of a detector."""
    columns: tuple[str, ...] = ("speaker",)
    """Columns of the metadata: speaker, accent, language, gender, or any of metadata.tsv."""
    systems: tuple[str, ...] = ()
    """Rows of the reports' tables, by their names; empty for all. Fewer are compared more
    sharply."""
    unit: Literal["clip", "speaker"] = "clip"
    """What is exchanged at random. clip: the answer is about these speakers; speaker: about others
    like them, which takes many speakers."""
    least: int = 10
    """Fewer units on either side are too few to judge; 2 or more."""
    seed: int = 0
    """Of bootstrap and permutations."""

    def __post_init__(self) -> None:
        labels = [label for label, _ in self.reports]
        for flag, given in (("reports", labels), ("columns", self.columns)):
            if not given or len({*given}) < len(given):
                raise InputError(f"--{flag} {given}: expected at least one, none of them twice")
        if self.least < 2:
            raise InputError(f"--least {self.least}: expected 2 or more")
        if self.unit == "speaker" and "speaker" in self.columns:
            raise InputError(
                "--columns speaker with --unit speaker: a speaker is one unit; compare clips"
            )

    def facts(self) -> dict[str, Any]:
        """Hashes of the reports."""
        from audiolm_jax.evaluation.groups.items import report_of

        return {"reports": {label: file_sha256(report_of(Path(p))) for label, p in self.reports}}

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings and of what the columns say."""
        from audiolm_jax.data.labelled import entries_of
        from audiolm_jax.evaluation.world.selection import open_recordings

        index = open_recordings(self.data)
        return _facts(index, {name: entries_of(index, name) for name in self.columns})

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Compares; writes the tables."""
        from audiolm_jax.data.labelled import entries_of
        from audiolm_jax.evaluation.groups.items import read_measured
        from audiolm_jax.evaluation.groups.split import Recordings, split
        from audiolm_jax.evaluation.groups.tables import csv_text, markdown
        from audiolm_jax.evaluation.world.selection import open_recordings

        index = open_recordings(self.data)
        ids = [clip_id for clip_id, _, _ in index.clips.identities()]
        columns = {name: entries_of(index, name) for name in self.columns}
        for name in self.columns:
            if not any(columns[name]):
                raise InputError(
                    f"--columns {name}: says nothing of any recording in {self.data.source}; "
                    "name it in metadata.tsv (audiolm audit tells which lists were read)"
                )
        recordings = Recordings(
            {clip_id: place for place, clip_id in enumerate(ids)},
            entries_of(index, "speaker"),
            columns,
        )
        measured = {label: read_measured(Path(place)) for label, place in self.reports}
        known = {found.system for of_report in measured.values() for found in of_report}
        if unknown := set(self.systems) - known:
            raise InputError(
                f"--systems {min(unknown)!r}: no report has it; expected {', '.join(sorted(known))}"
            )
        chosen = {
            label: [x for x in of_report if not self.systems or x.system in self.systems]
            for label, of_report in measured.items()
        }
        rows = split(recordings, chosen, self.columns, self.unit, self.least, self.seed)
        text, directory = markdown(rows, self.unit, self.least), Path(self.directory)
        write_text(directory / "groups.csv", csv_text(rows))
        write_text(directory / self.page, text)
        tell(text)
        found = [dataclasses.asdict(row) for row in rows]
        return {"data": _facts(index, columns), "rows": found}


def _facts(index: "ClipIndex", columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "fingerprint": index.fingerprint,
        "columns": {name: fingerprint(entries) for name, entries in columns.items()},
    }
