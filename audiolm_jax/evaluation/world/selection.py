"""Which stretches are continued, which clips revoiced and which recordings tell who speaks; in the
order of hashes, so that a recording that is added moves few others. All clips count as held out."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from audiolm_jax.audio.names import file_name
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex, index_folder, usable
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A piece of a clip whose beginning is a prompt."""

    clip: ClipInfo
    number: int  # of the stretch in its clip
    start: int  # first sample
    stop: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{file_name(self.clip.clip_id)}_{self.number}"

    def load(self, index: ClipIndex) -> Float[np.ndarray, " s"]:
        """Its samples."""
        return index.load(self.clip)[self.start : self.stop]


def open_recordings(config: AudioDataConfig) -> ClipIndex:
    """All clips of a folder, whatever its split; InputError if there are none."""
    index = index_folder(config)
    if not index.clips:
        usable(index)  # says why
    if index.passed_over:
        logger.warning("%s: %s; audiolm audit names them", config.source, index.passed_over)
    return index


def choose_stretches(index: ClipIndex, count: int, seconds: float) -> list[Stretch]:
    """Stretches of so many seconds side by side: the first of each clip, then all second ones.
    InputError if there are fewer than `count`."""
    length = round(seconds * index.config.sample_rate_hz)
    ordered = _ordered(index)
    most = max((clip.num_samples // length for clip in ordered), default=0)
    stretches = [
        Stretch(clip, number, number * length, (number + 1) * length)
        for number in range(most)
        for clip in ordered
        if (number + 1) * length <= clip.num_samples
    ]
    if len(stretches) < count:
        raise InputError(
            f"--prompts {count}: {index.config.source} has {len(stretches)} stretches of "
            f"{seconds:g} s; ask for fewer or shorter ones (--prompt-seconds, "
            "--continuation-seconds), or add recordings"
        )
    return stretches[:count]


def choose_clips(index: ClipIndex, count: int) -> list[ClipInfo]:
    """Clips with words in their transcripts; InputError if there are fewer than `count`."""
    clips = [clip for clip in _ordered(index) if any(c.isalnum() for c in clip.text)]
    if len(clips) < count:
        raise InputError(
            f"--revoiced {count}: {index.config.source} has {len(clips)} clips with transcripts; "
            "ask for fewer (audiolm audit tells which lists were read)"
        )
    return clips[:count]


def by_speaker(indices: Sequence[ClipIndex], most: int) -> dict[str, list[tuple[int, ClipInfo]]]:
    """Up to `most` clips of each speaker who has two or more, with the place of their index."""
    chosen: dict[str, list[tuple[int, ClipInfo]]] = {}
    for place, index in enumerate(indices):
        for clip in _ordered(index):
            if clip.speaker and len(own := chosen.setdefault(clip.speaker, [])) < most:
                own.append((place, clip))
    return {speaker: own for speaker, own in chosen.items() if len(own) > 1}


def _ordered(index: ClipIndex) -> list[ClipInfo]:
    """All clips, copies once."""
    hashes: dict[str, ClipInfo] = {}
    for clip in index.clips:
        key = hashlib.sha256(f"{clip.sha256} {clip.start_seconds}".encode()).hexdigest()
        hashes.setdefault(key, clip)
    return [hashes[key] for key in sorted(hashes)]
