"""Features of training clips on disk, for k-means: written once, whole clips at a time.

Which clips, and their order, is decided before any is encoded; so a start that finds some of the
features there goes on behind them, and memory holds those of one batch at most.
"""

import dataclasses
import json
import logging
import os
import time
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.types import AudioBatch, FrameEncoder

MANIFEST, STORED, FEATURES = "features.json", "stored.json", "features.f32"
SAVE_FRAMES = 16_384  # frames that an interruption loses at most
_SECONDS = 10.0  # between two lines of progress
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClipChoice:
    """The clips that features are taken of."""

    clips: tuple[ClipInfo, ...]  # the shortest first
    frames: tuple[int, ...]  # first ones of each that are used: all, but for one clip if cut
    available_frames: int  # of all training clips
    available_clips: int

    @property
    def facts(self) -> dict[str, int]:
        """How much is used of how much there is."""
        return {
            "frames": sum(self.frames),
            "available_frames": self.available_frames,
            "clips": len(self.clips),
            "available_clips": self.available_clips,
        }

    def __str__(self) -> str:
        frames = f"{sum(self.frames):,} of {self.available_frames:,} frames"
        return f"{frames}, {len(self.clips):,} of {self.available_clips:,} training clips"


def choose_clips(index: ClipIndex, hop_samples: int, max_frames: int, seed: int) -> ClipChoice:
    """Training clips drawn whole, with `max_frames` frames together, or all if they have fewer."""
    clips = index.of("train")
    counts = (-(-clips.num_samples // hop_samples)).tolist()
    left, used = max_frames, [0] * len(clips)
    rng = np.random.default_rng(seed)
    for i in rng.permutation(len(clips)) if sum(counts) > left else range(len(clips)):
        used[i] = min(counts[i], left)
        left -= used[i]
    pairs = [(clips[i], frames) for i, frames in enumerate(used) if frames]
    pairs.sort(key=lambda pair: (pair[0].num_samples, pair[0].clip_id))
    chosen, frames = tuple(clip for clip, _ in pairs), tuple(frames for _, frames in pairs)
    return ClipChoice(chosen, frames, sum(counts), len(clips))


def store_features(
    directory: Path,
    index: ClipIndex,
    choice: ClipChoice,
    encoder: FrameEncoder,
    layer: str,
    window: WindowConfig,
    batch_size: int,
) -> np.ndarray:
    """Writes the features of a layer, or what is left of them; float32 [n, d], mapped into memory.

    `window` is what `encoder` cuts long recordings by; `batch_size` clips are loaded together.
    """
    if (rate_hz := index.config.sample_rate_hz) != encoder.sample_rate_hz:
        expected = f"the encoder takes {encoder.sample_rate_hz}"
        raise InputError(f"--data.sample-rate-hz = {rate_hz}: {expected}")
    facts = {
        "encoder": encoder.fingerprint,
        "layer": layer,
        "window": config_to_dict(window),
        "data": index.fingerprint,
        **choice.facts,
    }
    manifest = directory / MANIFEST
    if not manifest.is_file():
        write_json(manifest, facts)
    elif json.loads(manifest.read_text()) != facts:
        words = "holds features of another encoder, layer or data"
        raise InputError(f"{manifest}: {words}; delete {directory}")
    path, stored = directory / FEATURES, directory / STORED
    done, width = json.loads(stored.read_text()) if stored.is_file() else (0, 0)
    shown = since = time.monotonic()
    with path.open("ab") as file:
        # What was written after the last record may not have reached the disk as a whole.
        file.truncate(sum(choice.frames[:done]) * width * 4)
        unsaved = 0
        for begin in range(done, len(choice.clips), batch_size):
            end = min(begin + batch_size, len(choice.clips))
            audio = AudioBatch.from_clips([index.load(clip) for clip in choice.clips[begin:end]])
            features, _ = encoder.features(audio, layer)
            for x, used in zip(features, choice.frames[begin:end], strict=True):
                file.write(np.ascontiguousarray(x[:used], np.float32).tobytes())
                unsaved += used
            if unsaved >= SAVE_FRAMES or end == len(choice.clips):
                file.flush()
                os.fsync(file.fileno())
                width, unsaved = features.shape[-1], 0
                write_json(stored, [end, width])
            if time.monotonic() - shown > _SECONDS:
                shown = time.monotonic()
                words = "features: %d of %d clips, %.0f s"
                _logger.info(words, end, len(choice.clips), shown - since)
    try:
        return np.memmap(path, np.float32, "r", shape=(sum(choice.frames), width))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); delete {directory}") from error
