"""Features of training clips on disk, for k-means: written once, whole clips at a time.

Which clips, and which file each goes to, is decided before any is encoded; so a start that finds
some files there goes on behind them, and memory holds one file's features at most.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.data.index import ClipIndex, ClipInfo
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.frames import FrameStore, shard_path, write_shard
from audiolm_jax.tokenizers.semantic.windows import WindowConfig
from audiolm_jax.types import AudioBatch, FrameEncoder

MANIFEST = "features.json"
SHARD_FRAMES = 16_384
_SECONDS = 10.0  # between two lines of progress


@dataclasses.dataclass(frozen=True)
class ClipChoice:
    """The clips that features are taken of.

    Attributes:
      clips: the shortest first.
      frames: first frames of each that are used: all of them, but for one clip if max_frames cuts
        it.
      available_frames: of all training clips.
      available_clips: their number.
    """

    clips: tuple[ClipInfo, ...]
    frames: tuple[int, ...]
    available_frames: int
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
        return (
            f"{sum(self.frames):,} of {self.available_frames:,} frames, {len(self.clips):,} of "
            f"{self.available_clips:,} training clips"
        )


def choose_clips(index: ClipIndex, hop_samples: int, max_frames: int, seed: int) -> ClipChoice:
    """Training clips with `max_frames` frames together, or all of them if they have fewer.

    Clips are drawn whole, in random order: only what is used has to be encoded.

    Args:
      index: of recordings at the encoder's rate.
      hop_samples: samples of a frame.
      max_frames: most frames.
      seed: of the order.
    """
    clips = index.of("train")
    counts = {clip.clip_id: -(-clip.num_samples // hop_samples) for clip in clips}
    total, left = sum(counts.values()), max_frames
    order = (
        np.random.default_rng(seed).permutation(len(clips)) if total > left else range(len(clips))
    )
    used: dict[str, int] = {}
    for i in order:
        if left > 0:
            used[clips[i].clip_id] = min(counts[clips[i].clip_id], left)
            left -= used[clips[i].clip_id]
    chosen = sorted(
        (clip for clip in clips if used.get(clip.clip_id)),
        key=lambda clip: (clip.num_samples, clip.clip_id),
    )
    frames = tuple(used[clip.clip_id] for clip in chosen)
    return ClipChoice(tuple(chosen), frames, total, len(clips))


def store_features(
    directory: Path,
    index: ClipIndex,
    choice: ClipChoice,
    encoder: FrameEncoder,
    layer: str,
    window: WindowConfig,
    batch_size: int,
) -> FrameStore:
    """Writes the features of a layer, or what is left of them, and opens them.

    Args:
      directory: where to.
      index: the recordings.
      choice: which of them.
      encoder: of their rate, cutting long ones by `window`.
      layer: one of its layers.
      window: the encoder's.
      batch_size: clips loaded together.

    Raises:
      InputError: the folder holds other features, the audio has another rate than the encoder, or
        there is no such layer.
    """
    if encoder.sample_rate_hz != index.config.sample_rate_hz:
        raise InputError(
            f"data.sample_rate_hz = {index.config.sample_rate_hz}: the encoder takes "
            f"{encoder.sample_rate_hz}"
        )
    shards = _shards(choice)
    counts = [sum(frames for _, frames in shard) for shard in shards]
    _claim(
        directory,
        {
            "encoder": encoder.fingerprint,
            "layer": layer,
            "window": config_to_dict(window),
            "data": index.fingerprint,
            "files": counts,
            **choice.facts,
        },
    )
    shown = since = time.monotonic()
    for number, shard in enumerate(shards):
        if shard_path(directory, number).is_file():
            continue
        write_shard(directory, number, _features(index, shard, encoder, layer, batch_size))
        if time.monotonic() - shown > _SECONDS:
            shown = time.monotonic()
            print(
                f"features: file {number + 1} of {len(shards)}, {shown - since:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    width = np.load(shard_path(directory, 0), mmap_mode="r", allow_pickle=False).shape[1]
    return FrameStore(directory, counts, width)


def _shards(choice: ClipChoice) -> list[list[tuple[ClipInfo, int]]]:
    """(clip, frames) of each file: consecutive clips until there are `SHARD_FRAMES`."""
    shards: list[list[tuple[ClipInfo, int]]] = []
    size = SHARD_FRAMES
    for clip, frames in zip(choice.clips, choice.frames, strict=True):
        if size >= SHARD_FRAMES:
            shards.append([])
            size = 0
        shards[-1].append((clip, frames))
        size += frames
    return shards


def _features(
    index: ClipIndex,
    clips: list[tuple[ClipInfo, int]],
    encoder: FrameEncoder,
    layer: str,
    batch_size: int,
) -> np.ndarray:
    parts: list[np.ndarray] = []
    for begin in range(0, len(clips), batch_size):
        some = clips[begin : begin + batch_size]
        audio = AudioBatch.from_clips([index.load(clip) for clip, _ in some])
        features, _ = encoder.features(audio, layer)
        parts += [x[:used] for x, (_, used) in zip(features, some, strict=True)]
    return np.concatenate(parts)


def _claim(directory: Path, facts: dict[str, Any]) -> None:
    path = directory / MANIFEST
    if path.is_file():
        if json.loads(path.read_text()) != facts:
            raise InputError(
                f"{path}: holds features of another encoder, layer or data; delete {directory}"
            )
        return
    write_json(path, facts)
