"""The judgement as tables, chart, page to listen to and JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from audiolm_jax.evaluation.measures.bootstrap import RESAMPLES, Estimate
from audiolm_jax.evaluation.page.charts import Chart, Line
from audiolm_jax.evaluation.page.palette import MAX_CURVES
from audiolm_jax.evaluation.page.render import Page
from audiolm_jax.evaluation.page.tables import Table, number, with_interval
from audiolm_jax.evaluation.world.results import (
    ENDING_MEASURES,
    LEAST_ITEMS,
    READING_MEASURES,
    BandRows,
    Ending,
    Measure,
    Reading,
    Row,
)
from audiolm_jax.evaluation.world.systems import Kind, System

SYNTHETIC = (
    "This page is about a closed world of words, as of the synthetic stories that "
    "./launch/stories.sh makes: no person spoke those. Results do not carry over to recordings of "
    "people."
)
_CHARTED = ("known", "legal")
_LEVEL_LINES: tuple[Kind, ...] = ("real", "codec", "bigram")  # of a chart, beside "continued"
_OF_BANDS = ("wer", "cer", "spelled_wer")


@dataclasses.dataclass(frozen=True)
class WorldPage(Page):
    """What is shown of the words that were said."""

    systems: tuple[System, ...]  # of the endings
    ending_rows: tuple[Row, ...]
    reading_rows: tuple[Row, ...]
    band_rows: tuple[BandRows, ...]  # of whole recordings and beginnings; () for none
    endings: tuple[Ending, ...]
    readings: tuple[Reading, ...]
    begun: tuple[Reading, ...]  # of beginnings of recordings
    notes: tuple[str, ...]
    asr: dict[str, str]  # what listened, and what made texts comparable, with their hashes

    def sections(self) -> dict[str, tuple[str, object]]:
        """All of them; see `Page`."""
        return {
            "world": ("Results", True),
            "listen": ("Listen", self.examples),
            "heard": ("What was heard", True),
            "training": ("Training", self.trainers),
            "provenance": ("Provenance", True),
        }

    def markdown(self) -> str:
        """The tables as Markdown."""
        parts = [f"# {self.title}\n", f"{self.summary}\n", *(f"{note}\n" for note in self.notes)]
        for table in self.tables:
            parts += [f"{table.caption}:\n", table.markdown()]
        return "\n".join(parts)

    def record(self) -> dict[str, Any]:
        """What report.json holds, beside the facts."""
        return {
            "provenance": dict(self.provenance),
            "endings": [dataclasses.asdict(row) for row in self.ending_rows],
            "asr": self.asr,
            "readings": [dataclasses.asdict(row) for row in self.reading_rows],
            "bands": [band.record() for band in self.band_rows],
            "every_ending": [dataclasses.asdict(ending) for ending in self.endings],
            "every_reading": [dataclasses.asdict(reading) for reading in self.readings],
            "every_beginning": [dataclasses.asdict(reading) for reading in self.begun],
        }

    @property
    def tables(self) -> list[Table]:
        """Endings, and whole clips if any were read; in brackets 95 % intervals."""
        tables = [_table("Endings of the same prompts", ENDING_MEASURES, self.ending_rows)]
        if self.readings:
            caption = "Whole clips against their transcripts"
            tables.append(_table(caption, READING_MEASURES, self.reading_rows))
        if self.band_rows:
            tables.append(self._band_table)
        return tables

    @property
    def _band_table(self) -> Table:
        measures = [m for m in READING_MEASURES if m.name in _OF_BANDS]
        rows = []
        for band in self.band_rows:
            few = f"too few, expected {LEAST_ITEMS} or more"
            for row in band.rows:
                cells = [_cell(row.means[m.name], m) if band.is_enough else few for m in measures]
                rows.append([f"{band.label}, {row.system}", str(band.items), *cells])
        heads = ("Length and system", "recordings", *(m.heading for m in measures))
        heard_by = "; ".join(self.asr.values())
        return Table(heads, rows, f"By length of the recording, heard by {heard_by}")

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Words and pairs against temperature, if that was varied."""
        grid = {s.label: s.temperature for s in self.systems if s.temperature is not None}
        grid = {s.label: grid[s.label] for s in self.systems if s.kind == "continued"}
        if len(grid) < 2:
            return ()
        ends = [min(grid.values()), max(grid.values())]
        others = [s.label for s in self.systems if s.kind in _LEVEL_LINES][: MAX_CURVES - 1]
        charts = []
        for measure in (m for m in ENDING_MEASURES if m.name in _CHARTED):
            means = {row.system: row.means[measure.name] for row in self.ending_rows}
            points = [(t, mean) for x, t in sorted(grid.items()) if (mean := means[x])]
            drawn = [("continued", points)]
            # What knows no temperature of stage 1 is a level line.
            drawn += [(x, [(t, mean) for t in ends]) for x in others if (mean := means[x])]
            lines = tuple(_line(*line, color) for color, line in enumerate(drawn) if line[1])
            if lines:
                title = f"{measure.heading} against temperature"
                charts.append(Chart(measure.name, title, "temperature of stage 1", lines))
        return tuple(charts)

    @property
    def heard_table(self) -> Table:
        """Every ending."""
        rows = [(f"{e.prompt}, {e.system}, seed {e.seed}", e.heard) for e in self.endings]
        return Table(("Prompt and system", "Heard after the prompt"), rows, "Every ending")

    @property
    def read_table(self) -> Table:
        """Every whole clip."""
        rows = [
            (f"{r.clip_id}, {r.system}, seed {r.seed}", r.transcript, r.heard, str(r.errors.errors))
            for r in self.readings
        ]
        heads = ("Clip and system", "Transcript", "Heard", "Errors")
        return Table(heads, rows, "Every whole clip")


def notes_of(
    prompt_seconds: float, continuation_seconds: float, recognizer: str, speakers: str
) -> tuple[str, ...]:
    """How the figures come about; `speakers` is one sentence on the reference voices."""
    return (
        SYNTHETIC,
        f"Prompts of {prompt_seconds:g} s, endings of {continuation_seconds:g} s. {recognizer} "
        "hears prompt and ending together; what it hears after the prompt's end is judged, without "
        "the last word, which is cut. A word is of the world if it sounds like one "
        "(homophones.tsv). A pair counts where both words are of the world; it is legal if the "
        "grammar can make it, across a sentence's end only where the recogniser heard one. A "
        "sentence counts where its end was heard; it is whole if all of it that was judged is.",
        "WER compares whole clips with their transcripts after Whisper's normalisation; words that "
        "sound alike are equal, but for the column 'as spelled'. The real recordings show the "
        "recogniser's own share. By length: whole recordings, and of those too long for a band "
        "their beginning up to a pause between sentences that was heard right on both sides, "
        "which favours what is easily heard.",
        f"{speakers} In brackets the 95 % interval of {RESAMPLES} bootstrap draws over prompts or "
        "clips. Bars are those that the bundle is to be judged by.",
    )


def _table(caption: str, measures: Sequence[Measure], rows: Sequence[Row]) -> Table:
    heads = [m.heading + (f" ({m.bar})" if m.bar else "") for m in measures]
    cells = [[row.system, *(_cell(row.means[m.name], m) for m in measures)] for row in rows]
    return Table(("System", *heads), cells, caption)


def _cell(mean: Estimate | None, measure: Measure) -> str:
    if mean is None:
        return number(None, 0)
    return with_interval(mean.mean, mean.low, mean.high, measure.digits)


def _line(label: str, points: Sequence[tuple[float, Estimate]], color: int) -> Line:
    means = [mean for _, mean in points]
    middle, low, high = ([getattr(mean, end) for mean in means] for end in ("mean", "low", "high"))
    return Line(label, [place for place, _ in points], middle, color, low, high)
