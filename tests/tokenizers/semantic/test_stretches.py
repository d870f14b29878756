"""Division into stretches: the best there is, whatever is beside it, and as long as sounds are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.stretches import (
    check_phases,
    in_phases,
    interleaved,
    stretches,
)
from audiolm_jax.types import AudioBatch


def runs(ids):
    return [(key, len(list(same))) for key, same in itertools.groupby(ids)]


def is_allowed(ids, shortest):
    """Only the first and the last stretch may be shorter: they may go on outside."""
    return all(length >= shortest for _, length in runs(ids)[1:-1])


def best_by_trial(distances, shortest):
    """Least sum over every division there is."""
    frames, clusters = distances.shape
    sums = [
        distances[np.arange(frames), ids].sum()
        for ids in itertools.product(range(clusters), repeat=frames)
        if is_allowed(ids, shortest)
    ]
    return min(sums)


MOST, CLUSTERS = 7, 3
divided = jax.jit(stretches, static_argnames="shortest")  # one program for each shortest length


@pytest.mark.parametrize("shortest", [1, 2, 3, 4])
@given(st.data())
def test_no_division_is_better(shortest, data):
    frames = data.draw(st.integers(1, MOST))
    costs = st.lists(st.integers(0, 9), min_size=frames * CLUSTERS, max_size=frames * CLUSTERS)
    own = np.array(data.draw(costs), np.float32).reshape(frames, CLUSTERS)
    rows = np.full((2, MOST, CLUSTERS), np.nan, np.float32)
    rows[0, :frames] = own
    rows[1] = 3.0
    valid = np.arange(MOST)[None] < np.array([[frames], [0]])
    ids = np.asarray(divided(jnp.asarray(rows), jnp.asarray(valid), shortest=shortest))[0, :frames]
    assert is_allowed(ids, shortest)
    assert own[np.arange(frames), ids].sum() == best_by_trial(own, shortest)


def test_one_frame_a_stretch_is_the_nearest_cluster():
    distances = np.random.default_rng(0).uniform(size=(2, 50, 7)).astype(np.float32)
    ids = stretches(jnp.asarray(distances), jnp.ones((2, 50), bool), 1)
    np.testing.assert_array_equal(ids, distances.argmin(axis=2))


def test_padding_and_mates_change_nothing():
    rng = np.random.default_rng(1)
    distances = rng.uniform(size=(40, 6)).astype(np.float32)
    alone = stretches(jnp.asarray(distances[None]), jnp.ones((1, 40), bool), 4)[0]
    batch = rng.uniform(size=(3, 90, 6)).astype(np.float32)
    batch[1, :40] = distances
    valid = np.arange(90)[None] < np.array([[90], [40], [0]])
    among = stretches(jnp.asarray(batch), jnp.asarray(valid), 4)[1, :40]
    np.testing.assert_array_equal(alone, among)


def test_long_recordings_are_divided_as_exactly_as_short_ones():
    """Sums of ten thousand large distances would have lost what tells two clusters apart."""
    rng = np.random.default_rng(2)
    short = rng.uniform(size=(60, 5)).astype(np.float32)
    before = np.full((10_000, 5), 3e4, np.float32)
    before[:, 0] = 2e4
    long = np.concatenate([before, short])
    found = [
        np.asarray(stretches(jnp.asarray(x[None]), jnp.ones((1, len(x)), bool), 4))[0]
        for x in (short, long)
    ]
    np.testing.assert_array_equal(found[0][8:], found[1][10_008:])


def test_frames_at_token_middles_lose_no_stretch():
    rng = np.random.default_rng(3)
    distances = rng.uniform(size=(1, 400, 20)).astype(np.float32)
    ids = np.asarray(stretches(jnp.asarray(distances), jnp.ones((1, 400), bool), 4))[0]
    changes = [key for key, _ in runs(ids)]
    at_tokens = [key for key, _ in runs(ids[2::4])]
    assert len(changes) > 60
    assert "".join(map(chr, changes[1:-1])) in "".join(map(chr, at_tokens))


def test_phases_begin_around_the_token():
    samples = np.arange(1, 41, dtype=np.float32)[None]
    batch = in_phases(AudioBatch(samples, np.array([30])), 8, 4)
    assert batch.samples.shape == (4, 40)
    assert batch.lengths.tolist() == [30] * 4
    for row, later in zip(np.asarray(batch.samples), (-3, -1, 1, 3), strict=True):
        for place in range(40):
            heard = place + later
            inside = 0 <= heard < 30 and place < 30
            assert row[place] == (samples[0, heard] if inside else 0)


def test_interleaved_frames_are_in_the_order_of_time():
    features = np.arange(30, dtype=np.float32).reshape(6, 5, 1)  # 3 phases of 2 items, 5 tokens
    frames = np.asarray(interleaved(jnp.asarray(features), 3))[:, :, 0]
    assert frames.shape == (2, 15)
    for item, token, phase in itertools.product(range(2), range(5), range(3)):
        assert frames[item, token * 3 + phase] == features[phase * 2 + item, token, 0]


@pytest.mark.parametrize("phases", [0, -1, 3, 640])
def test_phases_that_do_not_fit_are_refused(phases):
    with pytest.raises(InputError, match=rf"^--phases: phases = {phases}: expected 1"):
        check_phases(phases, 640, "--phases")


def test_phases_that_fit():
    for phases in (1, 2, 4, 5, 320):
        check_phases(phases, 640, "here")
