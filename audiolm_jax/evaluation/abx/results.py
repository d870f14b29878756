"""What is measured of one kind of features, as JSON values."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.data.alignments import AlignedPhone, find_recordings, read_alignments
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import SLICINGS, AbxConfig, Part
from audiolm_jax.evaluation.abx.items import Item, is_in_part, read_items
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

    @property
    def facts(self) -> dict[str, str]:
        """Fingerprint of the sound."""
        files = sorted(self.paths.items())
        return {"recordings": fingerprint([(name, file_sha256(path)) for name, path in files])}


def read_recordings(audio_dir: str, items: str, alignments: str, part: Part) -> Recordings:
    """Items, aligned phones unless `alignments` is empty, and the audio files of both, of a part of
    the recordings."""
    read = [item for item in read_items(Path(items)) if is_in_part(item.file, part)]
    if not read:
        raise InputError(f"{items}: no item in part {part!r} (--abx.part); take all")
    phones = read_alignments(Path(alignments)) if alignments else []
    phones = [phone for phone in phones if is_in_part(phone.file, part)]
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
