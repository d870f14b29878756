import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.nn.dropout import dropout


def masks(rate, shape, count):
    draw = jax.jit(lambda key: dropout(jnp.ones(shape), rate, key))
    return np.stack([draw(key) for key in jax.random.split(jax.random.key(0), count)])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_share_scale_and_independence(rate):
    drawn = masks(rate, (40, 50, 64), 8)
    assert set(np.unique(drawn)) == {0.0, np.float32(1 / (1 - rate))}
    dropped = (drawn == 0).astype(np.float64)
    deviation = np.sqrt(rate * (1 - rate))
    # Four standard errors for the share, and for correlations along each axis and between keys.
    assert abs(dropped.mean() - rate) < 4 * deviation / np.sqrt(dropped.size)
    centered = (dropped - rate) / deviation
    for axis in range(4):
        for lag in (1, 2, 7):
            moved = np.roll(centered, lag, axis)
            assert abs(np.mean(centered * moved)) < 4 / np.sqrt(dropped.size)
    for axis in (1, 2, 3):
        spread = dropped.mean(axis=tuple(i for i in range(4) if i != axis))
        count = dropped.size / len(spread)
        assert np.abs(spread - rate).max() < 5 * deviation / np.sqrt(count)


@pytest.mark.parametrize("word", [0, 1])
def test_each_word_of_the_key_changes_the_mask(word):
    """`fold_in` of numbers near to each other need not change both."""
    words = np.array([123456789, 987654321], np.uint32)
    drawn = []
    for change in (0, 1, 1 << 20, 1 << 31):
        changed = words ^ np.uint32(change) * (np.arange(2) == word).astype(np.uint32)
        drawn.append(np.asarray(dropout(jnp.ones(4000), 0.5, jax.random.wrap_key_data(changed))))
    for mask in drawn[1:]:
        assert 0.45 < np.mean(mask == drawn[0]) < 0.55  # as two masks by chance


def test_gradient_passes_where_the_number_was_kept():
    x, key = jnp.arange(1.0, 61.0).reshape(3, 20), jax.random.key(3)
    gradient = jax.grad(lambda x: jnp.sum(dropout(x, 0.3, key)))(x)
    np.testing.assert_allclose(gradient * x, dropout(x, 0.3, key), rtol=1e-6)
    assert 0 < (gradient == 0).sum() < x.size


def test_without_key_or_rate_nothing_changes():
    x = jnp.ones((2, 3))
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x
