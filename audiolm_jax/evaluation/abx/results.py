"""What is measured of one kind of features, as JSON values and as cells of a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm_jax.data.alignments import AlignedPhone, find_recordings, read_alignments
from audiolm_jax.evaluation.abx.cells import MODES, AbxConfig
from audiolm_jax.evaluation.abx.items import Item, read_items
from audiolm_jax.evaluation.abx.phone_purity import phone_purity
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import SLICINGS, FrameFeatures
from audiolm_jax.evaluation.page.tables import percent

_PURITIES = {
    "phone purity": "phone_purity",
    "cluster purity": "cluster_purity",
    "PNMI": "normalized_mutual_information",
}
PURITIES = tuple(_PURITIES)
"""Heads of the columns of `purity_cells`."""
SCORES = tuple(f"{mode}, {slicing}" for slicing in SLICINGS for mode in MODES)
"""Heads of the columns of `score_cells`."""


@dataclasses.dataclass(frozen=True)
class Recordings:
    """What features are measured on."""

    items: Sequence[Item]
    phones: Sequence[AlignedPhone]  # empty without alignments
    paths: Mapping[str, Path]  # audio file of each recording
    speakers: Mapping[str, str]  # who speaks in it


def read_recordings(audio_dir: str, items: str, alignments: str) -> Recordings:
    """Items, aligned phones unless `alignments` is empty, and the audio files of both.

    Raises:
      InputError: a file is missing or not as it should be.
    """
    read = read_items(Path(items))
    phones = read_alignments(Path(alignments)) if alignments else []
    speakers = {phone.file: phone.speaker for phone in phones}
    speakers |= {item.file: item.speaker for item in read}
    return Recordings(read, phones, find_recordings(Path(audio_dir), sorted(speakers)), speakers)


def measure_features(
    recordings: Recordings, features: FrameFeatures, config: AbxConfig
) -> dict[str, Any]:
    """ABX by each slicing, and the purity of discrete features where there are alignments."""
    purity = None
    if recordings.phones and features.codes is not None:
        purity = dataclasses.asdict(
            phone_purity(features.by_file, features.rate_hz, recordings.phones)
        )
    scores = [abx_score(recordings.items, features, slicing, config) for slicing in SLICINGS]
    return {"scores": [dataclasses.asdict(score) for score in scores], "purity": purity}


def score_cells(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of the `scores` of `measure_features` in percent."""
    return [percent(score[mode]["error"]) for score in scores for mode in MODES]


def purity_cells(purity: Mapping[str, Any] | None) -> list[str]:
    """Its `purity` in percent; empty where there is none."""
    return [percent(None if purity is None else purity[name]) for name in _PURITIES.values()]
