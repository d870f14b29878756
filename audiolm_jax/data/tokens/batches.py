"""From a position of a stage's stream to its record, crop, sequence and row of a padded batch.

All that decides what a stage learns from, in numpy alone: whoever reads, through SeqIO or not, asks
here.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from audiolm_jax.data.sources import Split
from audiolm_jax.data.stream import spread
from audiolm_jax.data.tokens.draws import below, shuffled_indices, uniform
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.sequences import Sequences, Window, build_sequences, shifted
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.windows import WindowsOfAll
from audiolm_jax.stages import StageConfig
from audiolm_jax.types import TokenBatch

_OF_STORES = 1 << 32  # between the seeds of a mixture's stores; no run's own (`loop.seed`)


class Crops(NamedTuple):
    """Semantic tokens `start` to `stop` of a record of a store; int64 [n] each, a record of -1 and
    `stop` 0 where a row is padding."""

    store: np.ndarray
    record: np.ndarray
    start: np.ndarray
    stop: np.ndarray


class StageStream:
    """The examples of a split by position.

    With a seed it is shuffled and endless. In every epoch of a store a record of u semantic tokens
    comes ceil(u / crop) times, in an order of that epoch's own; each time with a crop whose start
    is uniform where a whole crop fits. Records no longer than the crop are taken whole. With a
    chance of `edge_share` the crop is moved to the beginning or to the end of the file it is from.

    Without a seed each record is cut into even windows, in order, one store after the other; of
    more than `most` so many are spread evenly over all. Beyond them is padding.
    """

    def __init__(
        self,
        mixture: TokenMixture,
        stage: StageConfig,
        split: Split,
        seed: int | None,
        edge_share: float = 0.0,
        most: int | None = None,
    ):
        """InputError if a store has nothing of the split; its `check_store` is the caller's."""
        mixture.check_split(split)
        self.mixture, self.stage, self.split = mixture, stage, split
        self._seed, self._edge_share = seed, edge_share
        self._stores = [_StoreWindows(store, split, stage) for store in mixture.stores]
        self._ends = np.cumsum([part.count for part in self._stores])
        self._chosen = spread(int(self._ends[-1]), most)

    @property
    def windows(self) -> int:
        """Examples before the padding of a stream in order; of one that is shuffled, those of an
        epoch of every store."""
        return len(self._chosen)

    def crops(self, positions: Int[np.ndarray, " n"]) -> Crops:
        """What lies at positions, each from 0 on."""
        crops = Crops(*np.zeros((4, len(positions)), np.int64))
        if self._seed is not None:
            crops.store[:], own = self.mixture.of(positions)
        else:
            is_there = positions < self.windows
            crops.record[~is_there] = -1
            own = positions * is_there
            if not isinstance(self._chosen, range):
                own = np.asarray(self._chosen)[own]
            crops.store[:] = np.searchsorted(self._ends, own, side="right") * is_there
        for number, part in enumerate(self._stores):
            rows = np.flatnonzero((crops.store == number) & (crops.record == 0))
            if self._seed is not None:
                seed = self._seed + number * _OF_STORES
                found = part.shuffled(own[rows], seed, self._edge_share)
            else:
                found = part.in_order(own[rows] - (self._ends[number] - part.count))
            for field, values in zip(crops[1:], found, strict=True):
                field[rows] = values
        return crops

    def sequences(self, positions: Int[np.ndarray, " n"]) -> Sequences:
        """What the stage reads and writes there; a record is read once."""
        crops = self.crops(positions)
        windows: list[Window | None] = [None] * len(positions)
        order = np.lexsort((crops.record, crops.store))
        order = order[crops.record[order] >= 0]
        now, frames = (-1, -1), self.stage.frames_per_semantic
        fetched = [
            part.store.fetched(self.split, crops.record[order][crops.store[order] == number])
            for number, part in enumerate(self._stores)
        ]
        columns = (order, *(field[order] for field in crops))
        for row, number, record, start, stop in zip(*(c.tolist() for c in columns), strict=True):
            part = self._stores[number]
            if now != (number, record):
                now = number, record
                read = fetched[number].get(record)
                clusters, codes = read or part.store.tokens(self.split, record)
                if codes.shape != (frames * len(clusters), self.stage.levels):
                    part.store.record(self.split, record)  # says so
            ends_here = stop == len(clusters) and part.is_last(record)
            windows[row] = clusters[start:stop], codes[start * frames : stop * frames], ends_here
        try:
            return build_sequences(windows, self.stage)
        except ValueError:
            for number, record in sorted(set(zip(columns[1], columns[2], strict=True))):
                self._stores[number].store.record(self.split, int(record))  # names what is wrong
            raise

    def batch(self, positions: Int[np.ndarray, " n"]) -> TokenBatch:
        """A row a position."""
        return shifted(self.sequences(positions))


class _StoreWindows:
    """The windows of one store: (record, start, stop), each int64 [n]."""

    def __init__(self, store: TokenStore, split: Split, stage: StageConfig):
        self.store, self._crop = store, stage.crop_semantic
        self._lengths, self._edges = store.semantic_lengths(split), store.file_edges(split)
        self._windows = WindowsOfAll(self._lengths, self._crop)
        self.count = len(self._windows)

    def is_last(self, record: int) -> bool:
        """Whether its file ends with a record."""
        return int(self._edges[1][record]) == record

    def shuffled(
        self, positions: Int[np.ndarray, " n"], seed: int, edge_share: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        record = self._windows.items_of(shuffled_indices(positions, self.count, seed))
        draw = uniform(seed, positions, purpose=3)
        is_end = draw < edge_share / 2
        edge = np.where(is_end, self._edges[1][record], self._edges[0][record])
        is_edge = (draw < edge_share) & (edge >= 0)
        record = np.where(is_edge, edge, record)
        length = self._lengths[record]
        spare = np.maximum(0, length - self._crop)
        start = below(seed, positions, purpose=1, sizes=spare + 1)
        start = np.where(is_edge, np.where(is_end, spare, 0), start)
        return record, start, np.minimum(length, start + self._crop)

    def in_order(self, numbers: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._windows.at(numbers)
