"""The config of an ABX test, and the table of its results."""

import dataclasses
from collections.abc import Sequence

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.cells import AbxConfig
from audiolm_jax.evaluation.abx.features import FeatureConfig
from audiolm_jax.evaluation.abx.phone_purity import PhonePurity
from audiolm_jax.evaluation.abx.score import AbxScore


@dataclasses.dataclass(frozen=True)
class AbxExperiment:
    """Measure how well features tell phones apart, within and across speakers.

    Attributes:
      directory: where abx.json and abx.md go.
      audio_dir: folder of the recordings that the items name.
      items: item file, Libri-Light's or one of `audiolm items`.
      features: what to measure, at least one.
      alignments: file of aligned phones of the same recordings, for the purity of discrete
        features; empty to leave that out.
      abx: subsampling and its seed.
      batch_size: recordings that go through a model together.
    """

    directory: str
    audio_dir: str
    items: str
    features: tuple[FeatureConfig, ...] = ()
    alignments: str = ""
    abx: AbxConfig = AbxConfig()
    batch_size: int = 8

    def __post_init__(self) -> None:
        names = [features.name for features in self.features]
        if not names or len(set(names)) < len(names):
            raise InputError(f"features = {names}: expected at least one, each name once")
        if self.batch_size < 1:
            raise InputError(f"batch_size = {self.batch_size}: expected 1 or more")


@dataclasses.dataclass(frozen=True)
class AbxRow:
    """What was measured of one kind of features.

    Attributes:
      name: of the features.
      rate_hz: their frames per second.
      scores: ABX, one for each slicing.
      purity: None for features that are not discrete, or without alignments.
    """

    name: str
    rate_hz: float
    scores: tuple[AbxScore, ...]
    purity: PhonePurity | None


def abx_table(rows: Sequence[AbxRow]) -> str:
    """The results as Markdown: errors and purities in percent."""
    slicings = [score.slicing for score in rows[0].scores]
    heads = ["features", "Hz"]
    heads += [f"{mode}, {slicing}" for slicing in slicings for mode in ("within", "across")]
    heads += ["phone purity", "cluster purity", "PNMI", "used"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        cells = [row.name, f"{row.rate_hz:g}"]
        for score in row.scores:
            cells += [_percent(score.within.error), _percent(score.across.error)]
        found = row.purity
        cells += [
            *(
                _percent(getattr(found, name, None))
                for name in ("phone_purity", "cluster_purity", "normalized_mutual_information")
            ),
            "" if found is None else str(found.used),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"
