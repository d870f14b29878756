"""Balanced gradients against NumPy, and what a balancer is for: scales of losses do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.balancer import balance, empty_averages
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    BalancerConfig,
    LossConfig,
    SoundStreamTrainConfig,
)

CONFIG = BalancerConfig(decay=0.9, total_norm=2.0)
WEIGHTS = (1.0, 3.0, 4.0)


def draw(step):
    rng = np.random.default_rng(step)
    return [rng.normal(size=(2, 5)).astype(np.float32) * 10.0**i for i in range(3)]


def run(steps, gradients=draw, weights=WEIGHTS, averages=None, start=0):
    averages, results = averages or empty_averages(3), []
    for step in range(start, steps):
        balanced, averages, _ = balance(
            [jnp.asarray(g) for g in gradients(step)], weights, averages, CONFIG
        )
        results.append(np.asarray(balanced))
    return results, averages


def test_equals_numpy():
    results, _ = run(5)
    norms = np.array([[np.linalg.norm(g) for g in draw(step)] for step in range(5)])
    for step, result in enumerate(results):
        decays = 0.9 ** np.arange(step, -1, -1)
        mean = (decays[:, None] * norms[: step + 1]).sum(0) / decays.sum()
        expected = sum(
            2.0 * w / 8.0 * g / m for w, g, m in zip(WEIGHTS, draw(step), mean, strict=True)
        )
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_the_scale_of_a_loss_does_not_matter():
    scaled, _ = run(
        5, lambda step: [g * s for g, s in zip(draw(step), (1e3, 1, 1e-4), strict=True)]
    )
    for a, b in zip(run(5)[0], scaled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    other, _ = run(5, weights=(1.0, 3.0, 8.0))  # but its weight does
    assert not np.allclose(run(5)[0], other, rtol=0.1)


def test_losses_that_pull_one_way_have_the_whole_norm():
    ones = [np.full((2, 5), 7.0 * 10**i, np.float32) for i in range(3)]
    for result in run(3, lambda step: ones)[0]:
        assert np.linalg.norm(result) == pytest.approx(2.0, rel=1e-5)


def test_a_loss_without_gradient_waits():
    """Discriminators that start late begin with their first norm, and take nothing from others."""

    def late(step):
        return [g if i == 0 or step >= 3 else 0 * g for i, g in enumerate(draw(step))]

    results, averages = run(4, late)
    np.testing.assert_allclose(np.linalg.norm(results[0]), 2.0 / 8.0, rtol=1e-5)
    assert np.isfinite(results).all()
    np.testing.assert_allclose(averages.counts, [1 + 0.9 + 0.81 + 0.729, 1, 1], rtol=1e-6)
    fresh = [np.linalg.norm(g) for g in draw(3)[1:]]
    np.testing.assert_allclose(averages.sums[1:], fresh, rtol=1e-6)


def test_its_state_goes_on():
    whole, end = run(6)
    _, middle = run(4)
    rest, again = run(6, averages=middle, start=4)
    np.testing.assert_array_equal(rest, whole[4:])
    np.testing.assert_array_equal(again.sums, end.sums)


def test_bad_config_is_refused():
    with pytest.raises(InputError, match=r"--train.balancer.decay = 1.0"):
        BalancerConfig(decay=1.0)
    with pytest.raises(InputError, match=r"--train.balancer.total-norm = 0"):
        BalancerConfig(total_norm=0.0)
    nothing = LossConfig(spectral_weight=0.0, adversarial_weight=0.0, feature_weight=0.0)
    with pytest.raises(InputError, match=r"--train\.balancer: needs a weight"):
        SoundStreamTrainConfig(losses=nothing, balancer=BalancerConfig())


def test_norms_are_those_of_the_whole_batch_on_any_mesh():
    gradients = [np.random.default_rng(i).normal(size=(16, 7)).astype(np.float32) for i in range(3)]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(gradients, NamedSharding(mesh, PartitionSpec("data")))
    assert len(sharded[0].addressable_shards) == 8
    step = jax.jit(lambda g: balance(g, WEIGHTS, empty_averages(3), CONFIG))
    balanced, averages, norms = step(sharded)
    np.testing.assert_allclose(norms, [np.linalg.norm(g) for g in gradients], rtol=1e-5)
    np.testing.assert_allclose(averages.sums, norms, rtol=1e-6)
    np.testing.assert_allclose(balanced, step(gradients)[0], rtol=1e-5, atol=1e-7)


def test_each_weighted_loss_has_its_own_pass_and_the_others_none():
    losses = LossConfig(spectral_weight=2.0, adversarial_weight=0.0, feature_weight=5.0)
    plain = SoundStreamTrainConfig(losses=losses)
    assert plain.weightings(("spectral", "complex")) == ((2.0, 0.0),)
    assert plain.weightings(("adversarial", "feature")) == ((0.0, 5.0),)
    balanced = SoundStreamTrainConfig(losses=losses, balancer=BalancerConfig())
    assert balanced.balanced == ("spectral", "feature")
    assert balanced.weightings(("spectral", "complex")) == ((1.0, 0.0),)
    assert balanced.weightings(("adversarial", "feature")) == ((0.0, 1.0),)
    both = SoundStreamTrainConfig(losses=LossConfig(), balancer=BalancerConfig())
    assert both.weightings(("adversarial", "feature")) == ((1.0, 0.0), (0.0, 1.0))
