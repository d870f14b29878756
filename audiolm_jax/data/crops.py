"""Endless random crops of a folder of audio, addressed by position.

Position p of the stream decides everything: an epoch holds as many crops as fit into the split's
audio end to end; the p-th is a shuffled slot of that length on the line of all clips laid end to
end; a random point of the slot names the clip, so clips come as often as they are long; a random
start, uniform over where a whole crop fits, gives the crop. Clips no longer than the crop are taken
whole and padded with zeros. With `speed`, a longer or shorter stretch is resampled to the crop.
"""

import contextlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.audio.resample import resample
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.feed import Feed
from audiolm_jax.data.index import ClipIndex, can_seek, load_part
from audiolm_jax.data.prefetch import prefetch
from audiolm_jax.data.sources import Split
from audiolm_jax.data.stream import generator, own_rows, shuffled_index, spread
from audiolm_jax.data.windows import WindowsOfAll
from audiolm_jax.errors import InputError
from audiolm_jax.types import AudioBatch

# Decoded clips kept in memory: the whole of a small corpus, a window on a large one.
CACHE_BYTES = 1 << 30
DECODE_THREADS = max(4, os.cpu_count() or 1)
PREFETCH_BATCHES = 4


class CropLine:
    """Clips laid end to end, and the shuffled slots on them."""

    def __init__(self, lengths: Int[np.ndarray, " clips"], crop_samples: int):
        self._lengths, self._crop_samples = lengths, crop_samples
        self._ends = np.cumsum(lengths, dtype=np.float64)  # a search for a float wants it

    @property
    def samples(self) -> int:
        """Of all clips together."""
        return int(self._ends[-1])

    @property
    def epoch_crops(self) -> int:
        """Slots: the samples over the crop's, rounded up."""
        return -(-self.samples // self._crop_samples)

    def locate(self, turn: int, position: int, seed: int) -> tuple[int, int, int]:
        """The crop in the slot whose `turn` it is, drawn by its position in the whole stream:
        (number of the clip, first sample, end)."""
        slot = shuffled_index(turn, self.epoch_crops, seed)
        rng = generator(seed, position, purpose=0)
        point = (slot + rng.random()) / self.epoch_crops * self._ends[-1]
        last = len(self._lengths) - 1
        number = min(int(np.searchsorted(self._ends, point, side="right")), last)
        length = int(self._lengths[number])
        spare = length - self._crop_samples
        if spare <= 0:
            return number, 0, length
        start = int(rng.integers(spare + 1))
        return number, start, start + self._crop_samples


class AudioCrops:
    """Batches of crops of one split; any step is reached at once and on any number of hosts."""

    def __init__(
        self,
        index: ClipIndex,
        split: Split,
        crop_seconds: float,
        batch_size: int,
        seed: int,
        rows: Sequence[int] | None = None,
        cache_bytes: int = CACHE_BYTES,
        speed: float = 1.0,
    ):
        """`batch_size` counts crops over all hosts; `rows` of each batch are read, a host's share
        (`training.mesh.host_rows`), None all; `cache_bytes` of decoded clips are kept. Crops that
        are drawn from longer clips are played up to `speed` times faster or slower."""
        self.crop_samples = whole_samples(crop_seconds, index.config.sample_rate_hz)
        self._config, self._clips = index.config, index.of(split)
        self._lengths = self._clips.num_samples
        self._line = CropLine(self._lengths, self.crop_samples)
        has_room = 4 * self._line.samples <= cache_bytes
        self._cache = _ClipCache(index, cache_bytes, has_room)
        self._batch_size, self._seed, self._speed = batch_size, seed, speed
        self._rows = own_rows(batch_size, rows)

    @property
    def epoch_crops(self) -> int:
        """Positions in an epoch: the split's samples over the crop's, rounded up."""
        return self._line.epoch_crops

    def batches(self, start_step: int) -> Generator[AudioBatch, None, None]:
        """Endless batches of this host's rows from a step on, decoded ahead in the background."""
        places = (
            [self.locate(step * self._batch_size + row) for row in self._rows]
            for step in itertools.count(start_step)
        )
        seconds = len(self._rows) * self.crop_samples / self._config.sample_rate_hz
        feed = Feed(self._config.dataset, seconds, DECODE_THREADS)
        return self._read(places, is_in_order=False, feed=feed, is_stretched=self._speed != 1)

    def heldout_batches(self, limit: int | None = None) -> Generator[AudioBatch, None, None]:
        """Every clip of the split exactly once, in order, in even windows of at most the crop; if
        that makes more than `limit` batches, so many of windows spread evenly over all. Rows
        missing in the last batch have length 0."""
        places, is_in_order = self._heldout_places(limit)
        return self._read(places, is_in_order)

    def _heldout_places(
        self, limit: int | None
    ) -> tuple[Iterable[list[tuple[int, int, int]]], bool]:
        """Of each held-out batch this host's windows, and whether they are all that there are."""
        size, windows = self._batch_size, WindowsOfAll(self._lengths, self.crop_samples)
        chosen = spread(len(windows), None if limit is None else limit * size)
        places = (
            [windows[chosen[p]] if (p := first + r) < len(chosen) else (0, 0, 0)
             for r in self._rows]
            for first in range(0, len(chosen), size)
        )  # fmt: skip
        return places, isinstance(chosen, range)

    def locate(self, position: int) -> tuple[int, int, int]:
        """The crop at a position of the stream: (number of the clip, first sample, end)."""
        number, start, stop = self._line.locate(position, position, self._seed)
        length = int(self._lengths[number])
        if self._speed == 1 or length <= self.crop_samples:
            return number, start, stop
        rng = generator(self._seed, position, purpose=5)
        stretch = round(self.crop_samples * self._speed ** rng.uniform(-1, 1))
        size = min(stretch, length)
        start = int(rng.integers(length - size + 1))
        return number, start, start + size

    def describe(self, step: int) -> list[str]:
        """A line for each row of the batch after `step` steps, all hosts'."""
        rate, rows = self._config.sample_rate_hz, []
        for position in range(step * self._batch_size, (step + 1) * self._batch_size):
            number, start, stop = self.locate(position)
            where = f"{self._clips[number].clip_id}, {start / rate:.3f} to {stop / rate:.3f} s"
            rows.append(f"position {position}: {where}")
        return rows

    def _read(
        self,
        batches: Iterable[list[tuple[int, int, int]]],
        is_in_order: bool,
        feed: Feed | None = None,
        is_stretched: bool = False,
    ) -> Generator[AudioBatch, None, None]:
        """Decodes windows on threads, some batches ahead; of clips whose windows are asked for one
        after the other, the whole."""

        def read() -> Iterator[AudioBatch]:
            with ThreadPoolExecutor(DECODE_THREADS) as pool:
                for windows in batches:
                    with feed.reading() if feed else contextlib.nullcontext():
                        batch = self._batch(windows, pool, is_in_order, is_stretched)
                    yield batch

        return prefetch(read, PREFETCH_BATCHES)

    def _batch(
        self,
        windows: list[tuple[int, int, int]],
        pool: ThreadPoolExecutor,
        is_in_order: bool,
        is_stretched: bool,
    ) -> AudioBatch:
        def cut(window: tuple[int, int, int]) -> np.ndarray:
            number, start, stop = window
            samples = np.zeros(0, np.float32)
            if stop > start:
                samples = self._cache.part(self._clips[number], start, stop, is_in_order)
                if is_stretched and self._lengths[number] > self.crop_samples:
                    samples = resample(samples, stop - start, self.crop_samples, "soxr_hq")
            return samples

        rows = np.zeros((len(windows), self.crop_samples), np.float32)
        lengths = np.zeros(len(windows), np.int32)
        for row, samples in enumerate(pool.map(cut, windows)):
            rows[row, : len(samples)], lengths[row] = samples, len(samples)
        return AudioBatch(rows, lengths)


class _ClipCache:
    """Decoded clips, the least recently used dropped first; safe to use from several threads. Where
    not all have room, those in which it can be sought are not kept: only what is asked for is read
    of them."""

    def __init__(self, index: ClipIndex, limit_bytes: int, keeps_all: bool):
        self._index, self._limit, self._bytes = index, limit_bytes, 0
        self._keeps_all = keeps_all
        self._clips: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def part(
        self, clip: ClipInfo, start: int, stop: int, is_in_order: bool
    ) -> Float[np.ndarray, " n"]:
        """Samples of a clip, of which others are wanted soon if it `is_in_order`."""
        if not (self._keeps_all or is_in_order) and can_seek(self._index.config, clip):
            return load_part(self._index.config, clip, start, stop)
        return self._get(clip)[start:stop]

    def _get(self, clip: ClipInfo) -> Float[np.ndarray, " s"]:
        with self._lock:
            if clip.clip_id in self._clips:
                self._clips.move_to_end(clip.clip_id)
                return self._clips[clip.clip_id]
        samples = self._index.load(clip)  # outside the lock: decoding runs in parallel
        with self._lock:
            if clip.clip_id not in self._clips:
                self._clips[clip.clip_id] = samples
                self._bytes += samples.nbytes
            while self._bytes > self._limit and len(self._clips) > 1:
                self._bytes -= self._clips.popitem(last=False)[1].nbytes
        return samples


def whole_samples(crop_seconds: float, sample_rate_hz: int) -> int:
    """Samples of a crop; InputError if they are no positive whole number."""
    samples = round(crop_seconds * sample_rate_hz)
    if samples < 1 or abs(samples - crop_seconds * sample_rate_hz) > 1e-6:
        raise InputError(
            f"--crop-seconds = {crop_seconds}: no whole number of samples at {sample_rate_hz} Hz"
        )
    return samples
