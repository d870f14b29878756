"""The report: one HTML file to listen to and read, with everything inside it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.evaluation.bundle.expectations import duration_words, expectations
from audiolm_jax.evaluation.measures.codec import CodecReport
from audiolm_jax.evaluation.measures.likelihood import LevelLikelihood, StageLikelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport
from audiolm_jax.evaluation.page import plots
from audiolm_jax.evaluation.page.listening import AudioClip, Example, listening
from audiolm_jax.evaluation.page.page import (
    Html,
    element,
    number,
    percent_below,
    sectioned,
    table,
)

__all__ = ["AudioClip", "Example", "ReportContent", "TrainerSummary", "render", "write_report"]


@dataclasses.dataclass(frozen=True)
class TrainerSummary:
    """One training run.

    Attributes:
      name: "codec", "semantic tokenizer", "coarse stage" ...
      steps: completed steps.
      batch: what one step reads, in words: "16 clips of 1 s".
      parameters: number of trained parameters.
      seconds_per_step: measured, compilation left out; None if unknown.
      devices: what it ran on: "1 CPU (2 cores)".
      metrics: lines of metrics.jsonl.
      curves: metrics to draw, at most six, such as "loss"; "heldout/<name>" is added by itself.
    """

    name: str
    steps: int
    batch: str
    parameters: int
    seconds_per_step: float | None
    devices: str
    metrics: tuple[Mapping[str, Any], ...]
    curves: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ReportContent:
    """Everything that the page shows.

    Attributes:
      title: heading of the page.
      summary: one or two sentences: what was run, on what.
      sample_rate_hz: of every clip.
      train_seconds: audio that the models were trained on.
      examples: prompts with their players.
      trainers: training runs, in the order they ran.
      likelihoods: tables of the stages.
      codec: measurements of the codec, None if it was not measured.
      semantic: measurements of the semantic tokens, None if they were not.
      provenance: (name, value) pairs: config hash, fingerprints, seeds, versions.
      data_licence: where the recordings come from and on what terms.
    """

    title: str
    summary: str
    sample_rate_hz: int
    train_seconds: float
    examples: tuple[Example, ...]
    trainers: tuple[TrainerSummary, ...]
    likelihoods: tuple[StageLikelihood, ...]
    codec: CodecReport | None
    semantic: SemanticReport | None
    provenance: tuple[tuple[str, str], ...]
    data_licence: str


def write_report(path: Path | str, content: ReportContent) -> None:
    """Writes the page; it opens offline and loads nothing. Atomic: never half a file.

    Raises:
      InputError: a clip is empty or not finite, or a curve is asked for that was not measured.
    """
    write_text(Path(path), render(content))


def render(content: ReportContent) -> str:
    """The page as text; equal content gives equal text."""
    sections = [("expect", "What to expect", _expectations(content))]
    if content.examples:
        sections.append(("listen", "Listen", listening(content.examples, content.sample_rate_hz)))
    if content.likelihoods:
        sections.append(("likelihood", "How well the stages predict", _likelihoods(content)))
    if content.codec:
        sections.append(("codec", "Codec", _codec(content.codec)))
    if content.semantic:
        sections.append(("semantic", "Semantic tokens", _semantic(content.semantic)))
    if content.trainers:
        sections.append(("training", "Training", training(content.trainers)))
    sections.append(
        ("provenance", "Provenance", provenance(content.provenance, content.data_licence))
    )
    return sectioned(content.title, content.summary, sections)


def _expectations(content: ReportContent) -> Html:
    sentences = expectations(
        content.train_seconds, content.codec, content.semantic, content.likelihoods
    )
    return element("ul", *(element("li", sentence) for sentence in sentences), class_="expect")


def _likelihoods(content: ReportContent) -> Html:
    note = element(
        "p",
        "Held-out loss in nats per token, lower is better, beside three yardsticks on the same "
        "tokens: the logarithm of the vocabulary (a blind guess), the entropy of the tokens' own "
        "frequencies within their level (the least that any fixed guess can lose), and a bigram "
        "table of which token follows which, fitted on the training tokens. In the bar the filled "
        "part is the model, the solid mark the entropy, the dotted mark the bigram table.",
        class_="soft",
    )
    heads = (
        "Level", "Tokens", "Model", "Frequencies (entropy)", "Bigram", "log(vocabulary)",
        "Model against frequencies", "Model against bigram", "",
    )  # fmt: skip
    tables = []
    for stage in content.likelihoods:
        full = max(
            max(row.model_nats, row.unigram_nats, row.bigram_nats, row.log_vocabulary)
            for row in stage.rows
        )
        rows = [
            (
                row.level,
                number(row.tokens, 0),
                number(row.model_nats, 3),
                number(row.unigram_nats, 3),
                number(row.bigram_nats, 3),
                number(row.log_vocabulary, 3),
                percent_below(row.percent_below_unigram),
                percent_below(row.percent_below_bigram),
                _bar(row, full),
            )
            for row in stage.rows
        ]
        tables.append(table(f"{stage.stage.capitalize()} stage, nats per token", heads, rows))
    end = element(
        "p",
        "The row 'end' holds the tokens that end a recording; the row 'all' leaves them out.",
        class_="soft",
    )
    return Html(note + "".join(tables) + end)


def _bar(row: LevelLikelihood, full: float) -> Html:
    def at(nats: float) -> str:
        return f"{100 * nats / full:.1f}%"

    return element(
        "div",
        element("i", style=f"width:{at(row.model_nats)}"),
        element("u", style=f"left:{at(row.unigram_nats)}"),
        element("s", style=f"left:{at(row.bigram_nats)}"),
        class_="bar",
        aria_hidden="true",
    )


def _tiles(*tiles: tuple[str, str]) -> Html:
    cards = (element("div", element("b", value), name, class_="card") for name, value in tiles)
    return element("div", *cards, class_="tiles")


def _codec(report: CodecReport) -> Html:
    without = report.clips_without_stoi
    note = (
        f"Means over {len(report.clips)} held-out clips that went through the codec and back. "
        "SI-SDR compares waveforms in dB; below 0 the error is louder than what was kept, which "
        "says little about how it sounds. Mel distance is the mean difference of 80 mel bands in "
        "natural logarithms, 1 being 8.7 dB, lower is better. STOI estimates intelligibility from "
        "0 to 1."
    )
    if without:
        note += (
            f" {len(without)} of {len(report.clips)} clips hold less than 0.4 s of sound, have no "
            "STOI and stay out of its mean; they have a dash in the table of every clip."
        )
    parts = [
        element("p", note, class_="soft"),
        _tiles(
            ("SI-SDR, dB", number(report.si_sdr_db, 1)),
            ("mel distance", number(report.mel_distance, 2)),
            ("STOI", number(report.stoi, 2)),
        ),
        table(
            f"Codebooks of {report.codebook_size} codes over {report.frames:,} held-out frames",
            ("Level", "Perplexity", "Codes used", "Dead codes"),
            [
                (f"level_{row.level}", number(row.perplexity, 1), row.used, row.dead)
                for row in report.levels
            ],
        ),
    ]
    if report.frames < report.codebook_size:
        parts.append(
            element("p", "There are fewer frames than codes, so some codes must be dead here.")
        )
    heads = ("SI-SDR, dB", "Mel distance", "STOI")
    if report.prefixes:
        rows = [
            (row.levels, number(row.si_sdr_db, 1), number(row.mel_distance, 2), number(row.stoi, 2))
            for row in report.prefixes
        ]
        parts.append(table("Decoding the first levels only", ("Levels", *heads), rows))
    rows = [
        (
            clip.clip_id,
            number(clip.seconds, 1),
            number(clip.si_sdr_db, 1),
            number(clip.mel_distance, 2),
            number(clip.stoi, 2),
        )
        for clip in report.clips
    ]
    clips = table("Round trip of each clip", ("Clip", "Seconds", *heads), rows)
    parts.append(element("details", element("summary", "Every clip"), clips))
    return Html("".join(parts))


def _semantic(report: SemanticReport) -> Html:
    note = (
        f"{report.tokens:,} tokens of {report.clips} held-out clips, "
        f"{duration_words(report.seconds)} of audio. De-duplication drops repeats of the token "
        "before; perplexity is how many equally frequent clusters the use amounts to."
    )
    return Html(
        element("p", note, class_="soft")
        + _tiles(
            ("clusters used", f"{report.used_clusters} of {report.clusters}"),
            ("perplexity", number(report.perplexity, 0)),
            ("perplexity without repeats", number(report.deduplicated_perplexity, 0)),
            ("dropped by de-duplication", f"{100 * report.deduplication_rate:.0f} %"),
            ("tokens a second after it", number(report.tokens_per_second, 1)),
        )
    )


def training(trainers: tuple[TrainerSummary, ...]) -> Html:
    """The table of the training runs and their curves."""
    rows = [
        (
            trainer.name,
            number(trainer.parameters, 0),
            number(trainer.steps, 0),
            trainer.batch,
            number(trainer.seconds_per_step, 3),
            trainer.devices,
        )
        for trainer in trainers
    ]
    heads = ("Trainer", "Parameters", "Steps", "Batch", "Seconds per step", "Ran on")
    charts = (
        element(
            "figure",
            element("figcaption", element("b", trainer.name)),
            Html(plots.loss_curves_svg(trainer.metrics, trainer.curves, f"curves{index}")),
            class_="card",
        )
        for index, trainer in enumerate(trainers)
        if trainer.curves
    )
    return Html(table("Training runs", heads, rows) + element("div", *charts, class_="charts"))


def provenance(facts: Sequence[tuple[str, str]], data_licence: str) -> Html:
    """Where the recordings come from, and (name, value) pairs about the rest."""
    rows = table("What this page was made from", ("Item", "Value"), facts)
    return Html(
        element("h3", "Recordings")
        + element("pre", data_licence)
        + element("div", rows, class_="wrap")
    )
