import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.lm.losses import sums_per_level, token_losses, weighted_sum


def test_token_losses_are_their_definitions():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 3, 7)) * 5, rng.integers(0, 7, (2, 3))
    losses = token_losses(jnp.asarray(logits, jnp.float32), jnp.asarray(targets))
    log_z = np.log(np.exp(logits).sum(-1))
    expected = log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(losses.cross_entropy, expected, rtol=1e-5)
    np.testing.assert_allclose(losses.z_loss, log_z**2, rtol=1e-5)
    np.testing.assert_array_equal(losses.correct, logits.argmax(-1) == targets)


def test_losses_are_float32_and_finite_for_large_low_precision_logits():
    logits = jnp.full((1, 1, 4), 3e4, jnp.bfloat16).at[0, 0, 1].set(-3e4)
    losses = token_losses(logits, jnp.array([[1]]))
    assert losses.cross_entropy.dtype == jnp.float32
    assert np.isfinite(losses.cross_entropy).all()
    assert losses.cross_entropy[0, 0] > 5e4


def test_weightless_tokens_have_no_effect_and_no_gradient():
    weights = jnp.array([[1.0, 0.0, 2.0]])
    value = lambda x: weighted_sum(x, weights)  # noqa: E731
    assert value(jnp.array([[1.0, jnp.nan, 3.0]])) == 7
    np.testing.assert_array_equal(jax.grad(value)(jnp.ones((1, 3))), [[1, 0, 2]])
    assert weighted_sum(jnp.full((1, 3), jnp.nan), jnp.zeros((1, 3))) == 0


@pytest.mark.parametrize("seed", range(3))
def test_sums_per_level_partition_the_batch(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, 8)).astype(np.float32)
    weights = (rng.random((3, 8)) < 0.6).astype(np.float32)
    levels = rng.integers(0, 4, (3, 8))
    totals, counts = sums_per_level(
        jnp.asarray(np.where(weights, values, np.nan)), jnp.asarray(weights), levels, 5
    )
    for row in range(5):
        member = (levels == row) & (weights > 0)
        assert counts[row] == member.sum()
        np.testing.assert_allclose(totals[row], values[member].sum(), atol=1e-5)
    assert counts[4] == totals[4] == 0


def test_gradients_of_the_losses_are_those_of_their_definitions():
    rng = np.random.default_rng(1)
    logits = jnp.asarray(rng.normal(size=(2, 3, 7)) * 5, jnp.float32)
    targets = rng.integers(0, 7, (2, 3))

    def ours(x):
        losses = token_losses(x, targets)
        return jnp.sum(losses.cross_entropy + 0.3 * losses.z_loss + losses.correct)

    def plain(x):
        log_z = jax.nn.logsumexp(x, axis=-1)
        picked = jnp.take_along_axis(x, targets[..., None], axis=-1)[..., 0]
        return jnp.sum(log_z - picked + 0.3 * log_z**2)

    np.testing.assert_allclose(
        jax.grad(ours)(logits), jax.grad(plain)(logits), rtol=1e-4, atol=1e-5
    )
