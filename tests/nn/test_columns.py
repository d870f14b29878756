"""Sums that no order changes."""

import numpy as np

from audiolm_jax.nn.columns import ordered_sum


def test_a_sum_is_right_and_the_same_in_any_order_and_shape():
    rng = np.random.default_rng(0)
    shares = np.exp(rng.normal(-3, 3, (7, 5000))).clip(0, 1).astype(np.float32)
    shares[0, :3] = 0.0, 1.0, 2.0**-30
    sums = np.asarray(ordered_sum(shares))
    np.testing.assert_allclose(sums, shares.astype(np.float64).sum(1), rtol=1e-6)
    shuffled = np.asarray(ordered_sum(rng.permuted(shares, axis=1)))
    np.testing.assert_array_equal(sums, shuffled)
    for row in range(7):
        assert ordered_sum(shares[row]) == sums[row]


def test_the_largest_sum_does_not_overflow():
    np.testing.assert_allclose(ordered_sum(np.full(2**18, 1 - 2.0**-24, np.float32)), 2.0**18)
