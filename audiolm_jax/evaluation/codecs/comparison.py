"""Codecs and Opus side by side on the same clips: every figure of every clip, and their means."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from audiolm_jax.evaluation.measures.codec import LevelUse
from audiolm_jax.evaluation.measures.recognition import TextErrors

ORIGINAL = "original"
RESAMPLES = 2000  # draws of the bootstrap


@dataclasses.dataclass(frozen=True)
class Condition:
    """One row of the table: a system at one bitrate.

    Attributes:
      label: unique: "original", "light, 4 levels", "Opus 6 kbit/s".
      system: what curves join: "light", "Opus".
      levels: of a codec's quantiser; None for others.
      kbps: nominal bitrate; None for the original.
    """

    label: str
    system: str
    levels: int | None
    kbps: float | None


@dataclasses.dataclass(frozen=True)
class ClipResult:
    """One clip in one condition.

    Attributes:
      condition: label of the condition.
      packet_bits: what the clip took; None for the original.
      file_bits: with Opus's container; None for all others.
      scores: value by metric; None where it is not defined. Empty for a clip outside the limits
        of length, which only the recogniser hears, and for the original.
      heard: what the recogniser understood, None if it did not listen.
      errors: against the transcript, None if it did not listen.
    """

    condition: str
    packet_bits: int | None
    file_bits: int | None
    scores: dict[str, float | None]
    heard: str | None = None
    errors: TextErrors | None = None


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """One clip in every condition.

    Attributes:
      clip_id: its name.
      sha256: of the file it comes from.
      seconds: its length.
      transcript: as given; None if it takes no part in WER.
      results: in the order of the conditions.
    """

    clip_id: str
    sha256: str
    seconds: float
    transcript: str | None
    results: tuple[ClipResult, ...]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over clips.

    Attributes:
      mean: of the clips; for WER and CER the errors of all clips over the words of all.
      low: lower end of the 95 % interval, from a bootstrap over clips.
      high: upper end.
      clips: how many it is over.
    """

    mean: float
    low: float
    high: float
    clips: int


@dataclasses.dataclass(frozen=True)
class Row:
    """A condition with its means.

    Attributes:
      condition: the system and its bitrate.
      measured_kbps: bits over seconds of the clips within the limits of length; None for the
        original.
      file_kbps: the same with Opus's container; None for others.
      entropy_kbps: what an ideal coder would need that knows how frequent each code is within its
        level, over all clips; None but for codecs.
      means: by metric; None where it was not measured in any clip.
    """

    condition: Condition
    measured_kbps: float | None
    file_kbps: float | None
    entropy_kbps: float | None
    means: dict[str, Estimate | None]


@dataclasses.dataclass(frozen=True)
class CodebookUse:
    """How a codec used its codebooks on all clips.

    Attributes:
      system: label of the codec.
      frames: codec frames counted; no level can use more codes than that.
      codebook_size: codes of one level.
      frames_per_second: codec frames in a second of audio.
      levels: one row for each level.
    """

    system: str
    frames: int
    codebook_size: int
    frames_per_second: float
    levels: tuple[LevelUse, ...]

    def entropy_kbps(self, levels: int) -> float:
        """Bitrate at the codes' own entropies, level by level."""
        bits = sum(math.log2(level.perplexity) for level in self.levels[:levels])
        return bits * self.frames_per_second / 1000


def bootstrap(
    numerators: Sequence[float], denominators: Sequence[float], seed: int
) -> Estimate | None:
    """Ratio of sums over clips with its 95 % interval; None without clips.

    Clips are drawn with replacement 2000 times, the same draws for the same seed and number of
    clips; the ends are the percentiles 2.5 and 97.5. It tells how far the figure hangs on which
    clips were held out, not on how the codec was trained.
    """
    if not len(numerators):
        return None
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(above), (RESAMPLES, len(above)))
    ratios = above[drawn].sum(1) / below[drawn].sum(1)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Estimate(float(above.sum() / below.sum()), float(low), float(high), len(above))


def summarize(
    conditions: Sequence[Condition],
    clips: Sequence[ClipRecord],
    codebooks: Sequence[CodebookUse],
    metrics: Sequence[str],
    seed: int,
) -> tuple[Row, ...]:
    """The means of every condition, in their order."""
    use = {one.system: one for one in codebooks}
    rows = []
    for place, condition in enumerate(conditions):
        pairs = [(clip, clip.results[place]) for clip in clips]
        coder = use.get(condition.system)
        rows.append(
            Row(
                condition,
                _kbps(
                    [(result.packet_bits, clip.seconds) for clip, result in pairs if result.scores]
                ),
                _kbps(
                    [(result.file_bits, clip.seconds) for clip, result in pairs if result.scores]
                ),
                coder.entropy_kbps(condition.levels) if coder and condition.levels else None,
                {name: _mean(name, [result for _, result in pairs], seed) for name in metrics},
            )
        )
    return tuple(rows)


def difference(
    clips: Sequence[ClipRecord], left: str, right: str, metric: str, seed: int
) -> Estimate | None:
    """Mean of left minus right over the clips that have both, with its 95 % interval.

    Both were measured on the same clips, so this tells two conditions apart where their own
    intervals overlap.
    """
    values = []
    for clip in clips:
        scores = {result.condition: result.scores.get(metric) for result in clip.results}
        if scores[left] is not None and scores[right] is not None:
            values.append(scores[left] - scores[right])
    return bootstrap(values, [1.0] * len(values), seed)


def _kbps(bits_and_seconds: list[tuple[int | None, float]]) -> float | None:
    known = [(bits, seconds) for bits, seconds in bits_and_seconds if bits is not None]
    if not known:
        return None
    return sum(bits for bits, _ in known) / sum(seconds for _, seconds in known) / 1000


def _mean(name: str, results: list[ClipResult], seed: int) -> Estimate | None:
    errors = [result.errors for result in results if result.errors is not None]
    if name == "wer":
        parts = [(100 * one.word_errors, one.words) for one in errors]
    elif name == "cer":
        parts = [(100 * one.character_errors, one.characters) for one in errors]
    else:
        values = [result.scores.get(name) for result in results]
        parts = [(value, 1.0) for value in values if value is not None]
    return bootstrap([above for above, _ in parts], [below for _, below in parts], seed)
