import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.nn.position import RelativePositionBias, causal_bias, distance_buckets, rotate


def test_t5_sizes_give_the_published_buckets():
    buckets = distance_buckets(32, 128)
    assert buckets.shape == (129,)
    np.testing.assert_array_equal(buckets[:16], np.arange(16))
    # 16 * 8 ** (i / 16) is where logarithmic bucket 16 + i begins.
    starts = np.ceil(16 * 8 ** (np.arange(16) / 16) - 1e-9).astype(int)
    np.testing.assert_array_equal(np.searchsorted(buckets, np.arange(16, 32)), starts)
    assert buckets[128] == 31


@pytest.mark.parametrize(("buckets", "max_distance"), [(2, 2), (4, 9), (8, 64), (32, 128)])
def test_buckets_never_decrease_and_stay_in_range(buckets, max_distance):
    table = distance_buckets(buckets, max_distance)
    assert (np.diff(table) >= 0).all()
    assert table[0] == 0
    assert table[-1] == buckets - 1


@pytest.mark.parametrize("length", [1, 2, 5, 9, 10, 11, 40])
def test_causal_bias_is_the_bias_of_each_distance(length):
    by_distance = jax.random.normal(jax.random.key(length), (3, 10))
    bias = np.asarray(causal_bias(by_distance, length))
    for i in range(length):
        for j in range(i + 1):
            np.testing.assert_array_equal(bias[:, i, j], by_distance[:, min(i - j, 9)])


def test_gradient_of_causal_bias_counts_each_distance():
    weight = np.tril(np.ones((7, 7)))
    grad = jax.grad(lambda b: jnp.sum(causal_bias(b, 7) * weight[None]))(jnp.zeros((1, 4)))
    np.testing.assert_array_equal(grad[0], [7, 6, 5, 4 + 3 + 2 + 1])


def test_module_looks_its_table_up():
    module = RelativePositionBias(4, 8, 2, rngs=nnx.Rngs(0))
    buckets = distance_buckets(4, 8)
    np.testing.assert_array_equal(module(), np.asarray(module.table[...])[buckets].T)


def test_rotated_products_depend_on_distance_alone():
    query, key = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 6))
    positions = jnp.array([[0], [3], [700], [2000]], jnp.int32)

    def products(shift):
        turned = (
            rotate(jnp.repeat(query, 4, 0), positions + shift),
            rotate(jnp.repeat(key, 4, 0), positions),
        )
        return np.sum(np.asarray(turned[0]) * np.asarray(turned[1]), axis=(1, 2, 3))

    for shift in (0, 1, 25):
        np.testing.assert_allclose(products(shift), products(shift)[0], atol=2e-3)
    np.testing.assert_allclose(products(0), jnp.sum(query * key), atol=1e-5)
    assert np.ptp([products(shift)[0] for shift in (0, 1, 25)]) > 0.1


def test_rotation_keeps_lengths_and_dtype_and_takes_one_row_for_all():
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 4))
    turned = rotate(x, jnp.arange(5)[None])
    both = rotate(x, jnp.broadcast_to(jnp.arange(5)[None], (2, 5)))
    np.testing.assert_array_equal(turned, both)
    np.testing.assert_allclose(jnp.sum(turned**2, -1), jnp.sum(x**2, -1), rtol=1e-5)
    np.testing.assert_array_equal(turned[:, 0], x[:, 0])
    assert rotate(x.astype(jnp.bfloat16), jnp.arange(5)[None]).dtype == jnp.bfloat16
