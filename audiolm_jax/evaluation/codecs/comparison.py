"""Codecs and Opus side by side on the same clips: every figure of every clip, and their means."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from audiolm_jax.evaluation.measures.bootstrap import Estimate, bootstrap
from audiolm_jax.evaluation.measures.histograms import LevelUse
from audiolm_jax.evaluation.measures.quality import WAVEFORM_METRICS, Metric
from audiolm_jax.evaluation.measures.recognition import TextErrors

ORIGINAL = "original"
OPUS = "Opus"


@dataclasses.dataclass(frozen=True)
class Condition:
    """One row of the table: a system at one bitrate."""

    label: str  # unique: "original", "light, 4 levels", "Opus 6 kbit/s"
    system: str  # what curves join: "light", "Opus"
    levels: int | None  # of a codec's quantizer; None for others
    kbps: float | None  # nominal bitrate; None for the original


@dataclasses.dataclass(frozen=True)
class ClipResult:
    """One clip in one condition."""

    condition: str  # its label
    packet_bits: int | None  # what the clip took; None for the original
    file_bits: int | None  # with Opus's container; None for all others
    # By metric; None where the original leaves it undefined. Empty for the original and outside
    # limits of length.
    scores: dict[str, float | None]
    heard: str | None = None  # what the recognizer understood, None if it did not listen
    errors: TextErrors | None = None  # against the transcript, None if it did not listen


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """One clip in every condition."""

    clip_id: str
    sha256: str  # of the file it comes from
    seconds: float
    transcript: str | None  # None if it takes no part in WER
    results: tuple[ClipResult, ...]  # in the order of the conditions


@dataclasses.dataclass(frozen=True)
class Row:
    """A condition with its means."""

    condition: Condition
    measured_kbps: float | None  # over clips within the limits of length; None for the original
    file_kbps: float | None  # the same with Opus's container; None for others
    entropy_kbps: float | None  # at the codes' entropies over all clips; None but for codecs
    means: dict[str, Estimate | None]  # by metric; None where it was not measured in any clip


@dataclasses.dataclass(frozen=True)
class CodebookUse:
    """How a codec used its codebooks on all clips."""

    system: str  # label of the codec
    frames: int  # counted; no level can use more codes than that
    codebook_size: int
    frames_per_second: float
    levels: tuple[LevelUse, ...]

    def entropy_kbps(self, levels: int) -> float:
        """Bitrate at the codes' own entropies, level by level."""
        bits = sum(math.log2(level.perplexity) for level in self.levels[:levels])
        return bits * self.frames_per_second / 1000


def summarize(
    conditions: Sequence[Condition],
    clips: Sequence[ClipRecord],
    codebooks: Sequence[CodebookUse],
    metrics: Sequence[str],
    seed: int,
) -> tuple[Row, ...]:
    """The means of every condition, in their order."""
    use_of = {use.system: use for use in codebooks}
    rows = []
    for place, condition in enumerate(conditions):
        results = [clip.results[place] for clip in clips]
        measured = [(clip, clip.results[place]) for clip in clips if clip.results[place].scores]
        use = use_of.get(condition.system)
        packets = _kbps([(result.packet_bits, clip.seconds) for clip, result in measured])
        files = _kbps([(result.file_bits, clip.seconds) for clip, result in measured])
        entropy = use.entropy_kbps(condition.levels) if use and condition.levels else None
        means = {name: _mean(name, results, seed) for name in metrics}
        rows.append(Row(condition, packets, files, entropy, means))
    return tuple(rows)


def difference(
    clips: Sequence[ClipRecord], left: str, right: str, metric: str, seed: int
) -> Estimate | None:
    """Mean of left minus right over the clips that have both, with its 95 % interval; it tells two
    conditions apart where their own intervals overlap."""
    values = []
    for clip in clips:
        scores = {result.condition: result.scores.get(metric) for result in clip.results}
        minuend, subtrahend = scores[left], scores[right]
        if minuend is not None and subtrahend is not None:
            values.append(minuend - subtrahend)
    return bootstrap(np.array(values, np.float64), np.ones(len(values)), seed)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A codec against Opus on the same clips."""

    what: str  # labels of both
    metric: Metric
    estimate: Estimate  # codec minus Opus


def opus_differences(
    conditions: Sequence[Condition], clips: Sequence[ClipRecord], metrics: Sequence[str], seed: int
) -> tuple[Difference, ...]:
    """Each codec against each Opus bitrate within its range, at the nearest number of levels."""
    differences = []
    codecs: dict[str, list[tuple[float, Condition]]] = {}
    for condition in conditions:
        if condition.levels and condition.kbps:
            codecs.setdefault(condition.system, []).append((condition.kbps, condition))
    opus = [(row.kbps, row) for row in conditions if row.system == OPUS and row.kbps]
    for codec, (opus_kbps, yardstick) in itertools.product(codecs.values(), opus):
        fitting = [condition for kbps, condition in codec if kbps <= opus_kbps]
        most_kbps, _ = codec[-1]
        if not fitting or opus_kbps > 1.25 * most_kbps:
            continue
        left, right = fitting[-1].label, yardstick.label
        for metric in WAVEFORM_METRICS:
            if metric.name in metrics:
                estimate = difference(clips, left, right, metric.name, seed)
                if estimate is not None:
                    differences.append(Difference(f"{left} - {right}", metric, estimate))
    return tuple(differences)


def _kbps(bits_and_seconds: Sequence[tuple[int | None, float]]) -> float | None:
    known = [(bits, seconds) for bits, seconds in bits_and_seconds if bits is not None]
    if not known:
        return None
    return sum(bits for bits, _ in known) / sum(seconds for _, seconds in known) / 1000


def _mean(name: str, results: Sequence[ClipResult], seed: int) -> Estimate | None:
    errors = [result.errors for result in results if result.errors is not None]
    parts: list[tuple[float, int]]
    if name == "wer":
        parts = [(100 * edits.word_errors, edits.words) for edits in errors]
    elif name == "cer":
        parts = [(100 * edits.character_errors, edits.characters) for edits in errors]
    else:
        values = [x for result in results if (x := result.scores.get(name)) is not None]
        parts = [(value, 1) for value in values]
    numerators, denominators = np.array(parts, np.float64).reshape(-1, 2).T
    estimate = bootstrap(numerators, denominators, seed)
    if estimate is None or name in ("wer", "cer"):
        return estimate
    failed = next(metric.failed for metric in WAVEFORM_METRICS if metric.name == name)
    left_out = sum(name in result.scores and result.scores[name] is None for result in results)
    return dataclasses.replace(
        estimate, failed=sum(value == failed for value in values), left_out=left_out
    )
