"""What is measured of one kind of features, as JSON values."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm_jax.data.alignments import AlignedPhone, find_recordings, read_alignments
from audiolm_jax.evaluation.abx.config import SLICINGS, AbxConfig
from audiolm_jax.evaluation.abx.items import Item, read_items
from audiolm_jax.evaluation.abx.phone_purity import phone_purity
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import FrameFeatures


@dataclasses.dataclass(frozen=True)
class Recordings:
    """What features are measured on."""

    items: Sequence[Item]
    phones: Sequence[AlignedPhone]  # empty without alignments
    paths: Mapping[str, Path]  # audio file of each recording
    speakers: Mapping[str, str]  # who speaks in it


def read_recordings(audio_dir: str, items: str, alignments: str) -> Recordings:
    """Items, aligned phones unless `alignments` is empty, and the audio files of both."""
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
        measured = phone_purity(features.by_file, features.rate_hz, recordings.phones)
        purity = dataclasses.asdict(measured)
    scores = [abx_score(recordings.items, features, slicing, config) for slicing in SLICINGS]
    return {"scores": [dataclasses.asdict(score) for score in scores], "purity": purity}
