"""ABX discrimination of phones: how often is X nearer to a B than to an A of its own kind?

The error of a cell is the share of its triplets with d(X, B) < d(X, A), ties counting one half.
Cells are averaged over contexts and speakers of X, then over speakers, then over ordered pairs of
phones. 0 is perfect, 50 % is chance.

Reference: Schatz et al., "Evaluating speech features with the minimal-pair ABX task", 2013; the
conventions are those of Libri-Light (Kahn et al. 2020, section 4.2) and ZeroSpeech 2021.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.cells import Comparison, comparisons, group_items
from audiolm_jax.evaluation.abx.config import MODES, AbxConfig, Slicing
from audiolm_jax.evaluation.abx.dtw import SIZES, dtw_distances
from audiolm_jax.evaluation.abx.items import Item
from audiolm_jax.evaluation.abx.segments import (
    FrameFeatures,
    Segments,
    code_distances,
    cut_segments,
)

_TABLE = 1 << 25  # cosines of one batch of contexts; 128 MiB
_SIZES = (1 << 16, 1 << 20, 1 << 25, 1 << 28, (1 << 31) - 1)  # few, each is compiled; int32 places


@dataclasses.dataclass(frozen=True)
class ModeError:
    """One mode of the test."""

    error: float | None  # 0 to 1; None if there is no cell
    cells: int  # cells that were averaged
    triplets: int  # triplets in them


@dataclasses.dataclass(frozen=True)
class AbxScore:
    """ABX error of features."""

    slicing: Slicing  # rule for the frames of an item
    within: ModeError  # A, B and X of one speaker
    across: ModeError  # X of another speaker
    items: int  # items with frames
    empty: int  # items without, left out
    cut: int  # items that lost their last frame because the features end before it


class _Cosines:
    """Cosines of all frames of a context with each other; one memory serves all batches."""

    def __init__(self) -> None:
        self._memory = np.zeros(0, np.float32)

    def fill(self, vectors: Sequence[Float32[np.ndarray, "_ d"]]) -> Float32[np.ndarray, " s"]:
        """Context after context, row after row; what follows them may hold anything."""
        ends = np.cumsum([len(own) ** 2 for own in vectors])
        size = next(size for size in _SIZES if size >= ends[-1])
        if len(self._memory) < size:
            self._memory = np.zeros(size, np.float32)
        for own, end in zip(vectors, ends, strict=True):
            square = self._memory[end - len(own) ** 2 : end].reshape(len(own), len(own))
            np.matmul(own, own.T, out=square)
        return self._memory[:size]


class _Cells:
    """Errors of cells of one mode, and their labels."""

    def __init__(self) -> None:
        self.labels: list[tuple[str, str, str]] = []  # phones of A and B, speaker
        self.errors: list[float] = []
        self.triplets = 0

    def average(self) -> ModeError:
        if not self.labels:
            return ModeError(None, 0, 0)
        labels, errors = np.array(self.labels), np.array(self.errors)
        for columns in (3, 2):  # over contexts and speakers of X, then over speakers
            labels, group = np.unique(labels[:, :columns], axis=0, return_inverse=True)
            errors = np.bincount(group.reshape(-1), errors) / np.bincount(group.reshape(-1))
        return ModeError(float(errors.mean()), len(self.labels), self.triplets)


def abx_score(
    items: Sequence[Item], features: FrameFeatures, slicing: Slicing, config: AbxConfig
) -> AbxScore:
    """ABX error within and across speakers; InputError if features do not fit the items, an item
    is longer than 1024 frames, or one context alone needs more than 8 GiB."""
    segments = cut_segments(items, features, slicing)
    if len(segments.lengths) and segments.lengths.max() > SIZES[-1]:
        longest = segments.items[int(segments.lengths.argmax())]
        raise InputError(
            f"{longest.file}: the item at {longest.onset} s has {segments.lengths.max()} frames: "
            f"expected at most {SIZES[-1]}; are the times in seconds?"
        )
    cells = {mode: _Cells() for mode in MODES}
    table, cosines = None, _Cosines()
    if features.codes is not None:
        table = jnp.asarray(code_distances(features.codes, features.codebook).reshape(-1))
    for batch in _batches(segments, config, table is not None):
        distances = _distances(segments, batch, features.codes, table, cosines)
        for (compared, members), square in zip(batch, distances, strict=True):
            for comparison in compared:
                _score(comparison, members, square, cells[comparison.mode])
    within, across = cells["within"].average(), cells["across"].average()
    return AbxScore(slicing, within, across, len(segments.items), segments.empty, segments.cut)


def _batches(
    segments: Segments, config: AbxConfig, are_codes: bool
) -> Iterator[list[tuple[list[Comparison], np.ndarray]]]:
    """Contexts with something to compare: (comparisons, items they use), some at a time."""
    batch: list[tuple[list[Comparison], np.ndarray]] = []
    size = 0
    for context, groups in group_items(segments.items, config).items():
        pairs = list(comparisons(context, groups, config))
        if not pairs:
            continue
        used = [group.members for pair in pairs for group in (pair.a, pair.x, *pair.b)]
        members = np.unique(np.concatenate(used))
        cosines = max(int(segments.lengths[members].sum()), len(members)) ** 2
        if cosines > _SIZES[-1] and not are_codes:
            raise InputError(
                f"context {context!r}: {len(members)} items at once; lower --abx.max-size-group"
            )
        if batch and size + cosines > _TABLE:
            yield batch
            batch, size = [], 0
        batch.append((pairs, members))
        size += cosines
    if batch:
        yield batch


def _distances(
    segments: Segments,
    batch: list[tuple[list[Comparison], np.ndarray]],
    codes: int | None,
    table: Float[Array, " s"] | None,
    cosines: _Cosines,
) -> list[Float32[np.ndarray, "n n"]]:
    """For each context row X, column A or B; what is not compared is NaN."""
    first, second, starts, lengths, pairs, vectors = [], [], [], [], [], []
    frames = places = items = 0
    for compared, members in batch:
        sizes = segments.lengths[members]
        index = np.concatenate(
            [np.arange(s, s + n) for s, n in zip(segments.starts[members], sizes, strict=True)]
        )
        if codes is None:
            vectors.append(segments.frames[index])
            first.append(places + len(index) * np.arange(len(index)))
            second.append(np.arange(len(index)))
            places += len(index) ** 2
        else:
            first.append(segments.frames[index] * codes)
            second.append(segments.frames[index])
        starts.append(frames + np.cumsum(sizes) - sizes)
        lengths.append(sizes)
        pairs.append(items + _needed(compared, members))
        frames += len(index)
        items += len(members)
    values = cosines.fill(vectors) if table is None else table
    row, column, start, length, pair = map(np.concatenate, (first, second, starts, lengths, pairs))
    distances = dtw_distances(values, row, column, start, length, pair, is_cosine=codes is None)
    squares, begin, item = [], 0, 0
    for (_, members), own in zip(batch, pairs, strict=True):
        square = np.full((len(members), len(members)), np.nan, np.float32)
        rows, columns = (own - item).T
        square[rows, columns], square[columns, rows] = distances[begin : begin + len(own)].T
        squares.append(square)
        begin, item = begin + len(own), item + len(members)
    return squares


def _needed(compared: list[Comparison], members: Int[np.ndarray, " n"]) -> Int[np.ndarray, "p 2"]:
    """Positions in `members`, the first below the second, of every pair compared."""
    needed = np.zeros((len(members), len(members)), bool)
    for comparison in compared:
        x = np.searchsorted(members, comparison.x.members)
        others = np.concatenate([comparison.a.members, *(b.members for b in comparison.b)])
        needed[np.ix_(x, np.searchsorted(members, others))] = True
    return np.argwhere(np.triu(needed | needed.T, 1))


def _score(
    comparison: Comparison,
    members: Int[np.ndarray, " n"],
    table: Float32[np.ndarray, "n n"],
    cells: _Cells,
) -> None:
    mode, a, x, b = comparison
    rows = np.searchsorted(members, x.members)
    to_a = table[np.ix_(rows, np.searchsorted(members, a.members))]
    columns = np.searchsorted(members, np.concatenate([group.members for group in b]))
    to_b = table[np.ix_(rows, columns)]
    signs = np.sign(to_a[:, :, None] - to_b[:, None, :])  # 1: an error, 0: a tie
    count = to_a.size
    if mode == "within":  # an item is no A to itself
        signs[np.arange(len(rows)), np.arange(len(rows))] = 0
        count -= len(rows)
    sizes = np.array([len(group.members) for group in b])
    sums = np.add.reduceat(signs.sum(axis=(0, 1), dtype=np.float64), np.cumsum(sizes) - sizes)
    cells.errors += list(0.5 * (1 + sums / (count * sizes)))
    cells.labels += [(a.phone, group.phone, a.speaker) for group in b]
    cells.triplets += int(count * sizes.sum())
