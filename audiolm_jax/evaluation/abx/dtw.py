"""Dynamic time warping of many pairs of short sequences, compiled by JAX.

A pair's distance is the cost of the cheapest path through the table of frame distances, by steps
of one frame in either or both sequences, divided by the number of cells on it. Of equally cheap
predecessors the one that moves in both sequences is taken, then the one that moves in the second
(Libri-Light's and fastabx's rule). That makes the length of the path, and so the distance, depend
on which sequence is the first; both values come out of one pass.

The longer sequence of a pair gives the rows; pairs are padded to few heights and widths. Padding
comes *before* the sequences, at no cost where both are padded and at a prohibitive one where only
one is, so that the path enters the table at its true first cell and the result is always in the
last one. Rows that are padding for all pairs of a block are not computed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32

SIZES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)
_HEIGHTS = (64, 1024)  # rows that only fill up cost nothing
_BLOCK_CELLS = 1 << 20  # table cells of the pairs of one call: few enough for the cache
_WALL = 1e30  # more than any true cost; a sum of them is finite
# Abramowitz and Stegun 4.4.46, within 2e-8. XLA's own arccos is not vectorised on CPUs and took
# four times as long as all the rest.
_ARCCOS = (
    1.5707963050, -0.2145988016, 0.0889789874, -0.0501743046,
    0.0308918810, -0.0170881256, 0.0066700901, -0.0012624911,
)  # fmt: skip


def arccos(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Angle in radians of a cosine; beyond [-1, 1] as at the nearer end."""
    size = jnp.minimum(jnp.abs(x), 1.0)
    series = jnp.full_like(size, _ARCCOS[-1])
    for coefficient in _ARCCOS[-2::-1]:
        series = series * size + coefficient
    angle = jnp.sqrt(1.0 - size) * series
    return jnp.where(x < 0, np.float32(np.pi) - angle, angle)


def dtw_distances(
    table: Float[jax.Array | np.ndarray, " s"],
    first: Int[np.ndarray, " n"],
    second: Int[np.ndarray, " n"],
    starts: Int[np.ndarray, " m"],
    lengths: Int[np.ndarray, " m"],
    pairs: Int[np.ndarray, "p 2"],
    is_cosine: bool,
) -> Float32[np.ndarray, "p 2"]:
    """Distances of pairs of sequences in the order given, [:, 0], and in the opposite one, [:, 1].
    Frames i and j of two sequences are `table[first[i] + second[j]]`, taken as symmetric, from each
    other; if `is_cosine`, the angle over pi of that cosine. `starts` and `lengths` (1 to 1024) tell
    where each sequence lies. A pair's values depend neither on the other pairs nor on padding."""
    distances = np.empty((len(pairs), 2), np.float32)
    if not len(pairs):
        return distances
    is_turned = lengths[pairs[:, 0]] < lengths[pairs[:, 1]]
    turned = np.where(is_turned[:, None], pairs[:, ::-1], pairs)
    longer, shorter = lengths[turned].T
    if longer.max() > SIZES[-1]:
        raise ValueError(f"a sequence of {longer.max()} frames: at most {SIZES[-1]}")
    program = np.searchsorted(_HEIGHTS, longer) * len(SIZES) + np.searchsorted(SIZES, shorter)
    order = np.lexsort((longer, program))
    program = program[order]
    table = jnp.asarray(table)
    begin = 0
    while begin < len(order):
        index = program[begin]
        height, width = _HEIGHTS[index // len(SIZES)], SIZES[index % len(SIZES)]
        block = min(1 << 14, max(8, _BLOCK_CELLS // (height * width)))
        same = np.searchsorted(program, index, side="right")
        chosen = order[begin : min(begin + block, same)]
        begin += len(chosen)
        rows = _aligned(first, starts, lengths, turned[chosen, 0], height, block)
        columns = _aligned(second, starts, lengths, turned[chosen, 1], width, block)
        unused = np.int32(height - longer[chosen].max())
        own = np.asarray(_warp(table, rows, columns, unused, is_cosine)).T[: len(chosen)]
        distances[chosen] = np.where(is_turned[chosen, None], own[:, ::-1], own)
    return distances


def _aligned(
    values: Int[np.ndarray, " n"],
    starts: Int[np.ndarray, " m"],
    lengths: Int[np.ndarray, " m"],
    sequences: Int[np.ndarray, " k"],
    size: int,
    block: int,
) -> Int32[np.ndarray, "{size} {block}"]:
    """Each sequence at the end of its column, -1 before it."""
    place = np.arange(size)[:, None] - (size - lengths[sequences])
    columns = np.zeros((size, block), np.int32)  # a spare column is a pair of full length
    values_there = values[starts[sequences] + np.maximum(place, 0)]
    columns[:, : len(sequences)] = np.where(place < 0, -1, values_there)
    return columns


@functools.partial(jax.jit, static_argnames="is_cosine")
def _warp(
    table: Float[Array, " s"],
    rows: Int[Array, "h b"],
    columns: Int[Array, "w b"],
    unused: Int[Array, ""],
    is_cosine: bool,
) -> Float[Array, "2 b"]:
    """Distances of the pairs in both orders; the first `unused` rows are padding of all pairs."""
    padded_rows, padded_columns = rows < 0, columns < 0
    zeros = jnp.zeros(rows.shape[1])
    # Before the first row and column lies one more of padding. (cost, path cells, path cells with
    # the sequences exchanged), lengths as floats so that one vector type serves all.
    above = (jnp.where(padded_columns, 0.0, _WALL), *(jnp.zeros(columns.shape),) * 2)

    def fill_row(i: Array, carry: tuple) -> tuple:
        above, corner = carry
        distances = _frame_distances(table, rows[i], columns, is_cosine)
        edge = (jnp.where(padded_rows[i], 0.0, _WALL), zeros, zeros)

        def fill_cell(carry: tuple, cell: tuple) -> tuple:
            left, diagonal = carry
            distance, up = cell
            best = jnp.minimum(jnp.minimum(left[0], up[0]), diagonal[0])
            both = diagonal[0] <= best
            cells = jnp.where(both, diagonal[1], jnp.where(left[0] <= up[0], left[1], up[1]))
            swapped = jnp.where(both, diagonal[2], jnp.where(up[0] <= left[0], up[2], left[2]))
            new = (distance + best, cells + 1.0, swapped + 1.0)
            return (new, up), new

        filled: tuple
        _, filled = jax.lax.scan(fill_cell, (edge, corner), (distances, above))
        return filled, edge

    start = (above, (zeros, zeros, zeros))
    last, _ = jax.lax.fori_loop(unused, len(rows), fill_row, start)
    # The path through the padding has as many cells as the shorter padding: it moves diagonally.
    before = jnp.minimum(padded_rows.sum(0) - unused, padded_columns.sum(0))
    cost, cells, swapped = (values[-1] for values in last)
    return jnp.stack([cost / (cells - before), cost / (swapped - before)])


def _frame_distances(
    table: Float[Array, " s"], row: Int[Array, " b"], columns: Int[Array, "w b"], is_cosine: bool
) -> Float[Array, "w b"]:
    """A row of each pair's table."""
    places = jnp.maximum(row, 0)[None] + jnp.maximum(columns, 0)
    distances = table.at[places].get(mode="promise_in_bounds")
    if is_cosine:
        # Within the loop that gathers, the polynomial would not be vectorised.
        distances = arccos(jax.lax.optimization_barrier(distances)) * np.float32(1 / np.pi)
    in_first, in_second = row[None] < 0, columns < 0
    distances = jnp.where(in_first ^ in_second, _WALL, distances)
    return jnp.where(in_first & in_second, 0.0, distances)
