"""The discriminators' part of a step, against its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from audiolm_jax.nn.conv import initialize
from audiolm_jax.tokenizers.acoustic.soundstream.adversarial import Adversary
from audiolm_jax.tokenizers.acoustic.soundstream.config import DiscriminatorConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import Discriminators
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    discriminator_hinge,
    feature_distance,
    generator_hinge,
)

CONFIG = DiscriminatorConfig(
    wave_scales=(2,), wave_width=4, wave_max_width=4, stft_width=1, stft_window=128, stft_hop=64
)
# It compiles into a thousand little kernels, and speed is no concern here.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.slow
def test_the_generator_gets_gradients_of_after_the_update():
    """In one update they change much, so that outputs of before would be far off."""
    real, fake = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 200)), jnp.float32)
    optimizer = optax.sgd(0.3)
    adversary = Adversary(CONFIG, optimizer, start_step=0, every=1)
    before = adversary.init(jax.random.key(0))
    weightings = ((0.5, 2.0),)

    @quick_jit
    def step(params, fake):
        state = optimizer.init(params)
        return adversary.step(jnp.int32(0), params, state, real, fake, weightings)

    after_step, _, computed, metrics = step(before, fake)
    build = lambda: initialize(lambda d: Discriminators(CONFIG, draws=d), jax.random.key(0))  # noqa: E731
    graphdef = nnx.graphdef(nnx.eval_shape(build))

    def discriminate(params, audio):
        return nnx.merge(graphdef, params)(audio)

    @quick_jit
    def expected(before, fake):
        def loss(params):
            return discriminator_hinge(discriminate(params, real), discriminate(params, fake))

        gradient = jax.grad(loss)(before)
        after = jax.tree.map(lambda p, g: p - 0.3 * g, before, gradient)

        def weighted(fake, hinge, features):
            of_fake = discriminate(after, fake)
            distance = feature_distance(discriminate(after, real), of_fake)
            return hinge * generator_hinge(of_fake) + features * distance

        gradients = [jax.grad(weighted)(fake, *weights) for weights in weightings]
        return after, gradients, (loss(before), loss(after), weighted(fake, 0.0, 1.0))

    after, gradients, (first, last, distance) = expected(before, fake)
    assert abs(last - first) > 0.05 * first
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after_step, after)
    for gradient, other in zip(computed, gradients, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())
    np.testing.assert_allclose(metrics["discriminator_loss"], last, rtol=1e-5)
    np.testing.assert_allclose(metrics["feature_loss"], distance, rtol=1e-5)
