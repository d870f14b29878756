"""The comparison of codecs as a Markdown table, as figures and as a page to listen to."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from audiolm_jax.evaluation.bundle.report import TrainerSummary, provenance, training
from audiolm_jax.evaluation.codecs.comparison import (
    ORIGINAL,
    RESAMPLES,
    CodebookUse,
    Condition,
    Estimate,
    Row,
)
from audiolm_jax.evaluation.codecs.selection import LeftOut
from audiolm_jax.evaluation.codecs.systems import OPUS
from audiolm_jax.evaluation.measures.quality import METRICS, RATE_HZ, Metric
from audiolm_jax.evaluation.page import plots
from audiolm_jax.evaluation.page.listening import AudioClip, Example, listening
from audiolm_jax.evaluation.page.page import Html, element, number, sectioned, table


@dataclasses.dataclass(frozen=True)
class CodecPage:
    """Everything that the table and the page show.

    Attributes:
      title: heading.
      summary: one or two sentences: what was measured on what.
      rows: the conditions with their means.
      not_measured: reason by metric.
      notes: how the figures came about, one paragraph each.
      differences: (what is compared, metric heading, estimate) of codecs against Opus.
      codebooks: of each codec.
      examples: clips to listen to.
      trainers: training runs.
      left_out: held-out clips that took no part.
      provenance: (name, value) pairs.
      data_licence: of the recordings.
    """

    title: str
    summary: str
    rows: tuple[Row, ...]
    not_measured: dict[str, str]
    notes: tuple[str, ...]
    differences: tuple[tuple[str, Metric, Estimate], ...]
    codebooks: tuple[CodebookUse, ...]
    examples: tuple[Example, ...]
    trainers: tuple[TrainerSummary, ...]
    left_out: tuple[LeftOut, ...]
    provenance: tuple[tuple[str, str], ...]
    data_licence: str


def markdown(page: CodecPage) -> str:
    """The tables as Markdown."""
    parts = [f"# {page.title}", page.summary, *page.notes, _markdown_table(_heads(), _cells(page))]
    parts += [f"- {METRICS_BY_NAME[name].heading}: not measured: {reason}"
              for name, reason in page.not_measured.items()]  # fmt: skip
    if page.differences:
        parts.append(_markdown_table(_DIFFERENCE_HEADS, _difference_cells(page)))
    for use in page.codebooks:
        parts.append(f"{_codebook_caption(use)}:")
        parts.append(_markdown_table(_LEVEL_HEADS, _level_cells(use)))
    return "\n\n".join(parts) + "\n"


METRICS_BY_NAME = {metric.name: metric for metric in METRICS}
_DIFFERENCE_HEADS = ("Codec against Opus", "Metric", "Difference", "95 % interval")
_LEVEL_HEADS = ("Level", "Perplexity", "Codes used", "Dead codes")


def _heads() -> tuple[str, ...]:
    arrows = {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}"}
    return (
        "Condition",
        "kbit/s",
        "measured",
        "with container",
        "entropy-coded",
        *(f"{metric.heading} {arrows[metric.higher_is_better]}" for metric in METRICS),
    )


def _cells(page: CodecPage) -> list[tuple[str, ...]]:
    return [
        (
            row.condition.label,
            number(row.condition.kbps, 2),
            number(row.measured_kbps, 2),
            number(row.file_kbps, 2),
            number(row.entropy_kbps, 2),
            *(
                "not measured"
                if metric.name in page.not_measured
                else _estimate(row.means.get(metric.name), metric.digits)
                for metric in METRICS
            ),
        )
        for row in page.rows
    ]


def _estimate(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return number(None, 0)
    ends = f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"
    return f"{number(estimate.mean, digits)} ({ends})"


def _difference_cells(page: CodecPage) -> list[tuple[str, ...]]:
    return [
        (
            what,
            metric.heading,
            number(one.mean, metric.digits),
            f"{number(one.low, metric.digits)} to {number(one.high, metric.digits)}",
        )
        for what, metric, one in page.differences
    ]


def _level_cells(use: CodebookUse) -> list[tuple[str, ...]]:
    return [
        (str(one.level + 1), number(one.perplexity, 1), str(one.used), str(one.dead))
        for one in use.levels
    ]


def _codebook_caption(use: CodebookUse) -> str:
    caption = f"{use.system}: codebooks of {use.codebook_size} codes over {use.frames:,} frames"
    if use.frames < use.codebook_size:
        caption += ", fewer frames than codes, so that some must be dead"
    return caption


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |"
                     for line in lines)  # fmt: skip


def figures(page: CodecPage) -> dict[str, tuple[str, str]]:
    """(caption, inline SVG) by file stem: each metric against bitrate, perplexity by level."""
    drawn = {}
    for metric in METRICS:
        lines = _bitrate_lines(page.rows, metric)
        if lines:
            caption = f"{metric.heading} against bitrate"
            svg = plots.lines_svg(lines, "kbit/s", caption, f"fig-{metric.name}")
            drawn[metric.name] = (caption, svg)
    lines = [
        plots.Line(
            use.system,
            [one.level + 1 for one in use.levels],
            [one.perplexity for one in use.levels],
        )
        for use in page.codebooks
    ]
    caption = "Codebook perplexity by level"
    drawn["perplexity"] = (caption, plots.lines_svg(lines, "level", caption, "fig-perplexity"))
    return drawn


def _bitrate_lines(rows: Sequence[Row], metric: Metric) -> list[plots.Line]:
    systems = dict.fromkeys(row.condition.system for row in rows)
    kbps = [row.measured_kbps for row in rows if row.measured_kbps is not None]
    lines = []
    for system in systems:
        known = [
            (row.measured_kbps, row.means[metric.name])
            for row in rows
            if row.condition.system == system and row.means.get(metric.name) is not None
        ]
        if not known:
            continue
        places, estimates = zip(*known, strict=True)
        if system == ORIGINAL:  # no bitrate: a level line across
            places, estimates = (min(kbps), max(kbps)), estimates * 2
        lines.append(
            plots.Line(
                system,
                places,
                [one.mean for one in estimates],
                [one.low for one in estimates],
                [one.high for one in estimates],
            )
        )
    return lines


def render(page: CodecPage, drawn: dict[str, tuple[str, str]]) -> str:
    """The page as text; `drawn` comes from `figures`."""
    sections = [("results", "Results", _results(page)), ("figures", "Figures", _figures(drawn))]
    if page.examples:
        sections.append(("listen", "Listen", listening(page.examples, RATE_HZ)))
    sections.append(("codebooks", "Codebooks", _codebooks(page)))
    if page.trainers:
        sections.append(("training", "Training", training(page.trainers)))
    sections.append(("left-out", "Clips left out", _left_out(page)))
    facts = provenance(page.provenance, page.data_licence)
    sections.append(("provenance", "Provenance", facts))
    return sectioned(page.title, page.summary, sections)


def _results(page: CodecPage) -> Html:
    notes = [element("p", note, class_="soft") for note in page.notes]
    missing = [
        element("li", f"{METRICS_BY_NAME[name].heading}: not measured: {reason}")
        for name, reason in page.not_measured.items()
    ]
    parts = [*notes, table("Means with 95 % intervals", _heads(), _cells(page))]
    if missing:
        parts.append(element("ul", *missing))
    if page.differences:
        parts.append(
            element(
                "p",
                "Mean of codec minus Opus on the same clips, the codec at its highest measured "
                "bitrate that is not above Opus's nominal one.",
                class_="soft",
            )
        )
        caption = "Codecs against Opus, clip by clip"
        parts.append(table(caption, _DIFFERENCE_HEADS, _difference_cells(page)))
    return Html("".join(parts))


def _figures(drawn: dict[str, tuple[str, str]]) -> Html:
    charts = (
        element("figure", element("figcaption", element("b", caption)), Html(svg), class_="card")
        for caption, svg in drawn.values()
    )
    note = element(
        "p",
        "The shades are 95 % intervals. Opus stands at the bitrate measured in its packets.",
        class_="soft",
    )
    return Html(note + element("div", *charts, class_="charts"))


def _codebooks(page: CodecPage) -> Html:
    tables = (
        table(_codebook_caption(use), _LEVEL_HEADS, _level_cells(use)) for use in page.codebooks
    )
    return Html("".join(tables))


def _left_out(page: CodecPage) -> Html:
    rows = [(one.clip_id, one.part, one.reason) for one in page.left_out]
    if not rows:
        return element("p", "None.")
    clips = table(f"{len(rows)} times a held-out clip took no part", ("Clip", "Part", "Why"), rows)
    return element("details", element("summary", "Every clip and the reason"), clips)


def example(
    title: str, transcript: str | None, players: Sequence[tuple[str, np.ndarray]]
) -> Example:
    """The players of one clip; `players` are (condition, float [s] at 16 kHz)."""
    return Example(title, transcript, tuple(AudioClip(name, samples) for name, samples in players))


def players_of(conditions: Sequence[Condition]) -> list[int]:
    """Places of the conditions that get a player: of each codec its fewest, middle and most levels,
    and Opus at its lowest bitrate."""
    places: dict[str, list[int]] = {}
    for place, condition in enumerate(conditions):
        if condition.system != ORIGINAL:
            places.setdefault(condition.system, []).append(place)
    chosen = []
    for system, own in places.items():
        chosen += [own[0]] if system == OPUS else sorted({own[0], own[len(own) // 2], own[-1]})
    return chosen


BOOTSTRAP_NOTE = (
    f"In brackets the 95 % interval of {RESAMPLES} bootstrap draws over clips: it tells how far a "
    "figure hangs on which clips were held out, not on how a codec was trained."
)
