"""Features of training clips on disk, for k-means: each host those of its blocks, written once.

Which clips, and their order, is decided before any is encoded, so it is known which clips each
block of frames needs. A block is a file that appears whole; what a host finds there it does not
encode again, whoever wrote it: on a folder of all hosts any number of them goes on where others
ended, and with a folder of its own each host encodes what its devices need. Memory holds what the
devices encode at once, and one block.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path, write_json
from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.blocks import Blocks
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.training.distributed import from_all_hosts
from audiolm_jax.training.preemption import StopRequest, TrainingStopped, reached_preemption
from audiolm_jax.types import AudioBatch, FrameEncoder

MANIFEST = "features.json"
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
    counts = -(-clips.num_samples // hop_samples)
    total = int(counts.sum())
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clips)) if total > max_frames else np.arange(len(clips))
    before = np.cumsum(counts[order]) - counts[order]
    used = np.clip(max_frames - before, 0, counts[order])
    pairs = [(clips[int(i)], int(n)) for i, n in zip(order[used > 0], used[used > 0], strict=True)]
    pairs.sort(key=lambda pair: (pair[0].num_samples, pair[0].clip_id))
    chosen, frames = tuple(clip for clip, _ in pairs), tuple(frames for _, frames in pairs)
    return ClipChoice(chosen, frames, total, len(clips))


class StoredFeatures:
    """float32 [n, d] on disk, of which a host has its own blocks."""

    def __init__(self, directory: Path, blocks: Blocks, width: int) -> None:
        self._directory, self._blocks = directory, blocks
        self.shape = (blocks.frames, width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows of a slice or of int [r], read from the disk."""
        is_slice = isinstance(rows, slice)
        rows = np.arange(*rows.indices(len(self))) if is_slice else np.asarray(rows)
        found = np.empty((len(rows), self.shape[1]), np.float32)
        numbers = rows // self._blocks.size
        for number in np.unique(numbers).tolist():
            here, path = numbers == number, _path(self._directory, number)
            block = np.memmap(path, np.float32, "r").reshape(-1, self.shape[1])
            own = rows[here] - number * self._blocks.size
            found[here] = block[own[0] : own[-1] + 1] if is_slice else block[own]
        return found


def _path(directory: Path, number: int) -> Path:
    return directory / f"block_{number:06d}.f32"


def store_features(
    directory: Path,
    index: ClipIndex,
    choice: ClipChoice,
    encoders: Sequence[FrameEncoder],
    layer: str,
    window: WindowConfig,
    batch_size: int,
    blocks: Blocks,
    stop: StopRequest | None = None,
) -> StoredFeatures:
    """Writes the features of a layer in this host's blocks, or what is left of them; all hosts must
    call it. `encoders` are the same one on one or more devices, which encode at once; `window` is
    what it cuts long recordings by, and each loads `batch_size` clips together. Raises
    TrainingStopped, between two rounds of blocks, where `stop` says so.
    """
    if (rate_hz := index.config.sample_rate_hz) != encoders[0].sample_rate_hz:
        expected = f"the encoder takes {encoders[0].sample_rate_hz}"
        raise InputError(f"--data.sample-rate-hz = {rate_hz}: {expected}")
    facts = {
        "encoder": encoders[0].fingerprint,
        "layer": layer,
        "window": config_to_dict(window),
        "data": index.fingerprint,
        "block": blocks.size,
        **choice.facts,
    }
    _agree(None if _claim(directory, facts) else _other(directory))
    ends = np.cumsum(choice.frames)
    shown = since = time.monotonic()
    width, encoded = 0, 0
    with _Encoding(index, choice, encoders, layer, batch_size) as encoding:
        for begin in range(0, blocks.rounds * blocks.parts, blocks.parts):
            for number in (begin + part for part in blocks.own):
                rows, path = blocks.rows(number), _path(directory, number)
                if rows.start == rows.stop:
                    continue
                if not path.is_file():
                    block = encoding.frames(rows, ends)
                    with atomic_path(path) as scratch:
                        block.tofile(scratch)
                    encoded += len(block)
                width = path.stat().st_size // (4 * (rows.stop - rows.start))
            # Together: no host waits for another longer than a round takes.
            from_all_hosts(None)
            if stop is not None and stop.seen(reached_preemption):
                _logger.info("%s: stopped while encoding; run again to go on", directory)
                raise TrainingStopped(stop.exit_status)
            if time.monotonic() - shown > _SECONDS:
                shown = time.monotonic()
                done = min((begin + blocks.parts) * blocks.size, blocks.frames)
                rate = encoded / (shown - since)
                words = "features: %d of %d frames, %.0f frames/s on this host, %.0f s"
                _logger.info(words, done, blocks.frames, rate, shown - since)
    width = max(from_all_hosts(width))
    _agree(_damaged(directory, blocks, width))
    return StoredFeatures(directory, blocks, width)


def _claim(directory: Path, facts: dict[str, Any]) -> bool:
    manifest = directory / MANIFEST
    if not manifest.is_file():
        write_json(manifest, facts)
    return json.loads(manifest.read_text()) == facts


def _other(directory: Path) -> str:
    words = "holds features of another encoder, layer or data"
    return f"{directory / MANIFEST}: {words}; delete {directory}"


def _damaged(directory: Path, blocks: Blocks, width: int) -> str | None:
    """What is wrong with a block of this host, if anything is."""
    for number in range(blocks.count):
        rows, path = blocks.rows(number), _path(directory, number)
        if number % blocks.parts in blocks.own:
            size, expected = path.stat().st_size, 4 * width * (rows.stop - rows.start)
            if size != expected:
                return f"{path}: damaged ({size} bytes, expected {expected}); delete {directory}"
    return None


def _agree(reason: str | None) -> None:
    """InputError on every host if one has a reason."""
    if reasons := [text for text in from_all_hosts(reason) if text is not None]:
        raise InputError(reasons[0])


class _Encoding(contextlib.AbstractContextManager["_Encoding"]):
    """Features of chosen clips, by one thread for each encoder."""

    def __init__(
        self,
        index: ClipIndex,
        choice: ClipChoice,
        encoders: Sequence[FrameEncoder],
        layer: str,
        batch_size: int,
    ) -> None:
        self._index, self._choice, self._layer, self._size = index, choice, layer, batch_size
        self._encoders = encoders
        self._pool = concurrent.futures.ThreadPoolExecutor(len(encoders))
        self._last: tuple[int, list[np.ndarray]] | None = None  # a batch that two blocks share

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def frames(self, rows: slice, ends: np.ndarray) -> np.ndarray:
        """float32 [n, d] of some frames, where `ends` says which clip has which."""
        first = int(np.searchsorted(ends, rows.start, side="right"))
        last = int(np.searchsorted(ends, rows.stop - 1, side="right"))
        found = []
        for number, batch in self._batches(first // self._size, last // self._size + 1):
            for clip, features in enumerate(batch, number * self._size):
                begin = int(ends[clip]) - len(features)
                found.append(features[max(0, rows.start - begin) : max(0, rows.stop - begin)])
        return np.concatenate(found)

    def _batches(self, first: int, end: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Features of batches of clips, which are the same whatever block and host needs them:
        short clips share a call of the encoder's program, and threads on a CPU may round their rows
        differently."""
        if self._last is not None and self._last[0] == first:
            yield self._last
            first += 1
        for begin in range(first, end, len(self._encoders)):
            some = range(begin, min(begin + len(self._encoders), end))
            encoders = self._encoders[: len(some)]
            for batch in zip(some, self._pool.map(self._encode, encoders, some), strict=True):
                self._last = batch
                yield batch

    def _encode(self, encoder: FrameEncoder, batch: int) -> list[np.ndarray]:
        here = slice(batch * self._size, (batch + 1) * self._size)
        chosen, used = self._choice.clips[here], self._choice.frames[here]
        audio = AudioBatch.from_clips([self._index.load(clip) for clip in chosen])
        features, _ = encoder.features(audio, self._layer)
        return [np.array(x[:n], np.float32) for x, n in zip(features, used, strict=True)]
