"""DTW in batches equals the definition, pair by pair."""

import jax
import numpy as np
import pytest

from audiolm_jax.evaluation.abx import dtw


def plain_dtw(distances):
    """Cost of the cheapest path over its number of cells, by loops; the path is traced back."""
    rows, columns = distances.shape
    cost = np.full((rows + 1, columns + 1), np.inf, np.float32)
    cost[0, 0] = 0
    for i in range(rows):
        for j in range(columns):
            best = min(cost[i, j], cost[i + 1, j], cost[i, j + 1])
            cost[i + 1, j + 1] = distances[i, j] + best
    i, j, cells = rows, columns, 1
    while i > 1 or j > 1:
        diagonal, left, up = cost[i - 1, j - 1], cost[i, j - 1], cost[i - 1, j]
        if diagonal <= min(left, up):
            i, j = i - 1, j - 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        cells += 1
    return cost[rows, columns] / cells


class Sequences:
    """Random lengths, and one table of distances between all their frames."""

    def __init__(self, seed, count, longest, levels=None):
        rng = np.random.default_rng(seed)
        self.lengths = rng.integers(1, longest + 1, count)
        self.starts = np.cumsum(self.lengths) - self.lengths
        total = self.lengths.sum()
        table = rng.random((total, total))
        if levels:  # many ties
            table = np.round(table * levels) / levels
        self.table = np.triu(table).astype(np.float32)
        self.table += np.triu(self.table, 1).T
        self.pairs = np.argwhere(np.triu(np.ones((count, count)), 1))

    def block(self, i, j):
        (a, n), (b, m) = ((self.starts[k], self.lengths[k]) for k in (i, j))
        return self.table[a : a + n, b : b + m]

    def distances(self, pairs, is_cosine=False):
        frames = np.arange(len(self.table))
        table = np.zeros(1 << 16, np.float32)  # one size, so that programs are compiled once
        table[: self.table.size] = self.table.reshape(-1)
        return dtw.dtw_distances(
            table,
            frames * len(frames),
            frames,
            self.starts,
            self.lengths,
            pairs,
            is_cosine,
        )


@pytest.mark.parametrize("levels", [None, 3])
def test_equals_loops_in_both_orders(levels):
    sequences = Sequences(0, 20, 12, levels)
    found = sequences.distances(sequences.pairs)
    for (i, j), (one, other) in zip(sequences.pairs, found, strict=True):
        block = sequences.block(i, j)
        assert one == pytest.approx(plain_dtw(block), abs=1e-6)
        assert other == pytest.approx(plain_dtw(block.T), abs=1e-6)
    if levels:  # the order matters where equally cheap paths have other lengths
        assert (found[:, 0] != found[:, 1]).any()
    else:
        np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_long_ones_beside_short_ones():
    sequences = Sequences(5, 5, 12)
    sequences.lengths = np.array([70, 5, 66, 3, 90])
    sequences.starts = np.cumsum(sequences.lengths) - sequences.lengths
    table = np.random.default_rng(5).random((234, 234)).astype(np.float32)
    sequences.table = table + table.T
    pairs = np.array([[0, 1], [3, 4], [1, 3], [2, 1]])
    for (i, j), (one, other) in zip(pairs, sequences.distances(pairs), strict=True):
        assert one == pytest.approx(plain_dtw(sequences.block(i, j)), rel=1e-5)
        assert other == pytest.approx(plain_dtw(sequences.block(i, j).T), rel=1e-5)


def test_a_pair_depends_on_nothing_else():
    sequences = Sequences(1, 12, 12)
    pairs = sequences.pairs
    found = sequences.distances(pairs)
    shuffled = np.random.default_rng(0).permutation(len(pairs))
    np.testing.assert_array_equal(sequences.distances(pairs[shuffled]), found[shuffled])
    short = (sequences.lengths[pairs] <= 8).all(axis=1)  # padded to 8, not to 12
    assert 0 < short.sum() < len(pairs)
    for row in (np.flatnonzero(short)[0], np.flatnonzero(~short)[0]):
        np.testing.assert_array_equal(sequences.distances(pairs[row : row + 1])[0], found[row])


def test_padding_is_never_read(monkeypatch):
    sequences = Sequences(2, 10, 8)
    found = sequences.distances(sequences.pairs)
    monkeypatch.setattr(dtw, "SIZES", (12,))
    np.testing.assert_array_equal(sequences.distances(sequences.pairs), found)
    monkeypatch.setattr(dtw, "_BLOCK_CELLS", 12**2 * 9)  # several blocks
    np.testing.assert_array_equal(sequences.distances(sequences.pairs), found)


def test_a_sequence_is_at_no_distance_from_itself():
    sequences = Sequences(3, 6, 8)
    np.fill_diagonal(sequences.table, 0)
    same = np.repeat(np.arange(6), 2).reshape(6, 2)
    np.testing.assert_array_equal(sequences.distances(same), 0)


def test_arccos():
    x = np.linspace(-1, 1, 20001)
    exact = np.arccos(x.astype(np.float32).astype(np.float64))
    beyond = [1.0, 1.0001, -1.0001]
    found = np.asarray(jax.jit(dtw.arccos)(np.append(x, beyond).astype(np.float32)))
    assert np.abs(found[:-3] - exact).max() < 1e-6
    np.testing.assert_allclose(found[-3:], [0, 0, np.pi], atol=1e-7)


def test_no_pairs_and_too_long():
    sequences = Sequences(4, 3, 4)
    assert sequences.distances(np.zeros((0, 2), int)).shape == (0, 2)
    sequences.lengths[0] = 1025
    with pytest.raises(ValueError, match="1025 frames: at most 1024"):
        sequences.distances(np.array([[0, 1]]))
