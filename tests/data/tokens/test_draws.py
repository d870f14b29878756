"""Draws of many positions at once are those of each: runs in progress resume on them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm_jax.data.stream import generator, shuffled_index
from audiolm_jax.data.tokens.draws import below, shuffled_indices, uniform

SEEDS = st.integers(0, 2**64 - 1)
POSITIONS = st.lists(st.integers(0, 2**62), min_size=1, max_size=8)


@given(SEEDS, POSITIONS, st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_uniform(seed, positions, purpose):
    drawn = uniform(seed, np.array(positions), purpose)
    assert drawn.tolist() == [generator(seed, p, purpose).random() for p in positions]


# Of every second such size a draw of 32 bits is rejected about as often as not.
SIZES = st.integers(1, 2000) | st.sampled_from([2**31 + 1, 3 * 2**30, 2**32 - 1, 2**32, 2**40])


@given(SEEDS, st.lists(st.tuples(st.integers(0, 2**62), SIZES), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_below(seed, drawn):
    positions, sizes = np.array(drawn).T
    wanted = [int(generator(seed, p, 1).integers(size)) for p, size in drawn]
    assert below(seed, positions, 1, sizes).tolist() == wanted


@given(SEEDS, POSITIONS, st.integers(1, 3000) | st.integers(1, 2**40))
@settings(max_examples=50, deadline=None)
def test_shuffled_indices(seed, positions, size):
    drawn = shuffled_indices(np.array(positions), size, seed)
    assert drawn.tolist() == [shuffled_index(p, size, seed) for p in positions]
