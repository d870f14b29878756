"""The comparison of codecs as Markdown tables, as charts, as a page to listen to and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from audiolm_jax.evaluation.codecs.comparison import (
    OPUS,
    ORIGINAL,
    ClipRecord,
    CodebookUse,
    Condition,
    Difference,
    Row,
)
from audiolm_jax.evaluation.codecs.selection import LeftOut
from audiolm_jax.evaluation.measures.bootstrap import RESAMPLES, Estimate
from audiolm_jax.evaluation.measures.quality import (
    LEAST_OPINION,
    METRICS,
    RATE_HZ,
    Metric,
)
from audiolm_jax.evaluation.page.charts import Chart, Line
from audiolm_jax.evaluation.page.render import Page
from audiolm_jax.evaluation.page.tables import Table, number


@dataclasses.dataclass(frozen=True)
class CodecPage(Page):
    """What is shown of codecs beside Opus."""

    rows: tuple[Row, ...]
    not_measured: Mapping[str, str]  # reason by metric
    notes: tuple[str, ...]  # how the figures came about, one paragraph each
    differences: tuple[Difference, ...]
    codebooks: tuple[CodebookUse, ...]
    left_out: tuple[LeftOut, ...]  # held-out clips that took no part

    def sections(self) -> dict[str, tuple[str, object]]:
        """All of them; see `Page`."""
        return {
            "results": ("Results", True),
            "figures": ("Figures", True),
            "listen": ("Listen", self.examples),
            "codebooks": ("Codebooks", True),
            "training": ("Training", self.trainers),
            "left-out": ("Clips left out", True),
            "provenance": ("Provenance", True),
        }

    def markdown(self) -> str:
        """The tables as Markdown."""
        parts = [f"# {self.title}\n", f"{self.summary}\n", *(f"{note}\n" for note in self.notes)]
        parts += [self.means.markdown(), *(f"- {line}\n" for line in self.missing)]
        if self.differences:
            parts.append(self.difference_table.markdown())
        for table in self.codebook_tables:
            parts += [f"{table.caption}:\n", table.markdown()]
        return "\n".join(parts)

    def record(self, clips: Sequence[ClipRecord]) -> dict[str, Any]:
        """What report.json holds of these clips, beside the facts."""
        return {
            "provenance": dict(self.provenance),
            "not_measured": dict(self.not_measured),
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "differences": [
                {"what": row.what, "metric": row.metric.name, **dataclasses.asdict(row.estimate)}
                for row in self.differences
            ],
            "codebooks": [dataclasses.asdict(use) for use in self.codebooks],
            "clips": [dataclasses.asdict(clip) for clip in clips],
            "left_out": [dataclasses.asdict(clip) for clip in self.left_out],
        }

    @property
    def means(self) -> Table:
        """The means of every condition."""
        arrows = {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}"}
        heads = [f"{metric.heading} {arrows[metric.higher_is_better]}" for metric in METRICS]
        return Table(
            ("Condition", "kbit/s", "measured", "with container", "entropy-coded", *heads),
            [self._cells(row) for row in self.rows],
            "Means with 95 % intervals",
        )

    def _cells(self, row: Row) -> list[str]:
        bitrates = (row.condition.kbps, row.measured_kbps, row.file_kbps, row.entropy_kbps)
        cells = [row.condition.label, *(number(kbps, 2) for kbps in bitrates)]
        for metric in METRICS:
            if metric.name in self.not_measured:
                cells.append("not measured")
            elif (mean := row.means.get(metric.name)) is None:
                cells.append(number(None, 0))
            else:
                counts = ((mean.failed, "failed"), (mean.left_out, "left out"))
                rest = "".join(f"; {count} {what}" for count, what in counts if count)
                cells.append("{} ({})".format(*_numbers(mean, metric)) + rest)
        return cells

    @property
    def missing(self) -> list[str]:
        """What was not measured, and why."""
        return [
            f"{metric.heading}: not measured: {self.not_measured[metric.name]}"
            for metric in METRICS
            if metric.name in self.not_measured
        ]

    @property
    def difference_table(self) -> Table:
        """Codecs against Opus."""
        rows = [
            (row.what, row.metric.heading, *_numbers(row.estimate, row.metric))
            for row in self.differences
        ]
        heads = ("Codec against Opus", "Metric", "Difference", "95 % interval")
        return Table(heads, rows, "Codecs against Opus, clip by clip")

    @property
    def codebook_tables(self) -> list[Table]:
        """One of each codec."""
        tables = []
        for use in self.codebooks:
            caption = (
                f"{use.system}: codebooks of {use.codebook_size} codes over {use.frames:,} frames"
            )
            if use.frames < use.codebook_size:
                caption += ", fewer frames than codes, so that some must be dead"
            rows = [
                (str(row.level + 1), number(row.perplexity, 1), str(row.used), str(row.dead))
                for row in use.levels
            ]
            tables.append(Table(("Level", "Perplexity", "Codes used", "Dead codes"), rows, caption))
        return tables

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Each measured metric against bitrate, and perplexity by level."""
        charts = [
            Chart(metric.name, f"{metric.heading} against bitrate", "kbit/s", lines)
            for metric in METRICS
            if (lines := _bitrate_lines(self.rows, metric))
        ]
        levels = []
        for color, use in enumerate(self.codebooks):
            perplexities = [level.perplexity for level in use.levels]
            numbers = [level.level + 1 for level in use.levels]
            levels.append(Line(use.system, numbers, perplexities, color))
        title = "Codebook perplexity by level"
        return (*charts, Chart("perplexity", title, "level", tuple(levels)))


def _numbers(estimate: Estimate, metric: Metric) -> tuple[str, str]:
    """Mean and interval."""
    mean, low, high = (
        number(x, metric.digits) for x in (estimate.mean, estimate.low, estimate.high)
    )
    return mean, f"{low} to {high}"


def _bitrate_lines(rows: Sequence[Row], metric: Metric) -> tuple[Line, ...]:
    """A line of each system; colors go to those that were measured, in order."""
    measured: dict[str, list[tuple[float | None, Estimate]]] = {}
    for row in rows:
        if (estimate := row.means.get(metric.name)) is not None:
            measured.setdefault(row.condition.system, []).append((row.measured_kbps, estimate))
    bitrates = [row.measured_kbps for row in rows if row.measured_kbps is not None]
    lines = []
    for color, (system, points) in enumerate(measured.items()):
        places = [kbps for kbps, _ in points if kbps is not None]
        estimates = [estimate for _, estimate in points]
        if system == ORIGINAL:  # no bitrate: a level line across
            places, estimates = [min(bitrates), max(bitrates)], estimates * 2
        means, low, high = ([getattr(e, end) for e in estimates] for end in ("mean", "low", "high"))
        lines.append(Line(system, places, means, color, low, high))
    return tuple(lines)


def players_of(conditions: Sequence[Condition]) -> list[int]:
    """Places of the conditions that get a player: of each codec its fewest, middle and most levels,
    and Opus at its lowest bitrate."""
    places: dict[str, list[int]] = {}
    for place, condition in enumerate(conditions):
        if condition.system != ORIGINAL:
            places.setdefault(condition.system, []).append(place)
    heard = []
    for system, own in places.items():
        heard += [own[0]] if system == OPUS else sorted({own[0], own[len(own) // 2], own[-1]})
    return heard


def notes_of(
    rates_hz: Mapping[str, int], visqol_mapping: str, language: str | None
) -> tuple[str, ...]:
    """How the figures come about: rates of codecs by label, the recognizer's language if any."""
    notes = [
        f"In brackets the 95 % interval of {RESAMPLES} bootstrap draws over clips: it tells how "
        "far a figure hangs on which clips were held out, not on how a codec was trained.",
        f"ViSQOL is its speech mode with the {visqol_mapping} mapping; PESQ is wideband (P.862.2); "
        f"all measures are taken at {RATE_HZ // 1000} kHz. A clip of whose resynthesis one of both "
        f"hears nothing, or PESQ no speech, has failed and gets {LEAST_OPINION:g}, the least of "
        "both scales; one whose original is so is left out. The table counts either.",
        "kbit/s is nominal. For Opus the measured bitrate is that of its packets; its Ogg file "
        "weighs more on short clips. The entropy-coded bitrate is what a codec's codes would take "
        "if each level were coded by its own frequencies on these clips; with few frames it comes "
        "out too low.",
    ]
    others = [f"{label} ({rate} Hz)" for label, rate in rates_hz.items() if rate != RATE_HZ]
    if others:
        notes.append(
            f"Converted from 16 kHz to the codec's rate and back by soxr_hq: {', '.join(others)}."
        )
    if language is not None:
        notes.append(
            "WER and CER compare what the recogniser hears with the transcript after Whisper's "
            f"own normalisation for {language!r}; the row 'original' is its own share of the "
            "errors."
        )
    return tuple(notes)
