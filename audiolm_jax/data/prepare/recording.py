"""One recording into clips: what is cut where, how loud, written, and a record of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.audio.blocks import stretches
from audiolm_jax.audio.resample import resample_blocks
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import changed_file, file_blocks
from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.cuts import SPEECH, Cut, cut
from audiolm_jax.data.prepare.detect import FRAMES_HZ, RATE_HZ, Detector, over_time
from audiolm_jax.data.prepare.sound import Levels, flac
from audiolm_jax.data.sources import AudioDataConfig

_MUSIC = 0.5  # probability of a frame, and share of a clip, from which on it is music


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of a recording; kept beside the clips, so that it is not cut again."""

    fingerprint: str  # of its content and the rules
    path: str  # as shown
    seconds: float
    reason: str = ""  # why it could not be read
    clips: tuple[tuple[int, int], ...] = ()  # milliseconds in the recording
    too_short: float = 0.0  # seconds of speech dropped
    music: float = 0.0
    hard: int = 0  # clips that end in no pause
    gain_db: float = 0.0
    is_limited: bool = False  # by its peak, below the level asked for
    is_whole: bool = False  # one clip has all of its speech


def clip_name(start_ms: int, end_ms: int) -> str:
    """Of a file; sorted by time for recordings of less than 27 hours."""
    return f"{start_ms:08d}-{end_ms:08d}.flac"


def prepare_recording(
    source: AudioDataConfig,
    clip: ClipInfo,
    config: PrepareConfig,
    detector: Detector,
    folder: Path,
    fingerprint: str,
) -> Record:
    """Writes the clips of a recording into a folder; InputError if it changed or is damaged."""

    def blocks(rate_hz: int) -> Iterator[np.ndarray]:
        own = file_blocks(source, clip, clip.source_rate_hz, 0)
        return resample_blocks(own, rate_hz, source.resampler)

    rate = config.sample_rate_hz
    levels = Levels(rate)
    heard = levels.passing(blocks(rate))
    if rate != RATE_HZ:
        for _ in heard:
            pass
        heard = blocks(RATE_HZ)
    networks = [detector.speech, *([detector.music] if config.drop_music else [])]
    speech, *music = over_time(heard, networks)
    if levels.samples != clip.num_samples:
        raise changed_file(source, clip)
    cuts = cut(speech, config)
    long = [c for c in cuts if c.end - c.start >= round(config.min_seconds * FRAMES_HZ)]
    kept = [c for c in long if not music or _share(music[0], c) <= _MUSIC]
    is_kept = np.zeros(len(speech), bool)
    for c in kept:
        is_kept[c.start : c.end] = True
    gain, is_limited = levels.gain(is_kept & (speech >= SPEECH), is_kept, config.level_db)
    spans = [(c.start * rate // FRAMES_HZ, _end(c, rate, levels.samples)) for c in kept]
    milliseconds = [(c.start * 1000 // FRAMES_HZ, c.end * 1000 // FRAMES_HZ) for c in kept]
    if kept:
        folder.mkdir(parents=True, exist_ok=True)
    for name, (start, end), sound in zip(
        milliseconds, spans, stretches(blocks(rate), spans), strict=True
    ):
        if len(sound) != end - start:
            raise changed_file(source, clip)
        with atomic_path(folder / clip_name(*name)) as scratch:
            scratch.write_bytes(flac(sound, rate, gain))
    return Record(
        fingerprint,
        clip.path,
        clip.source_samples / clip.source_rate_hz,
        clips=tuple(milliseconds),
        too_short=_seconds(cuts) - _seconds(long),
        music=_seconds(long) - _seconds(kept),
        hard=sum(c.is_hard for c in kept),
        gain_db=round(20 * float(np.log10(gain)), 3),
        is_limited=is_limited,
        is_whole=len(cuts) == len(kept) == 1,
    )


def _share(music: np.ndarray, clip: Cut) -> float:
    return float((music[clip.start : clip.end] >= _MUSIC).mean())


def _end(clip: Cut, rate_hz: int, samples: int) -> int:
    """The last frame of a recording may be no whole one."""
    return min(clip.end * rate_hz // FRAMES_HZ, samples)


def _seconds(clips: list[Cut]) -> float:
    return sum(c.end - c.start for c in clips) / FRAMES_HZ
