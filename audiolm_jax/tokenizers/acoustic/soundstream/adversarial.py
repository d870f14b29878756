"""The discriminators' part of a training step."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from audiolm_jax.nn.conv import initialize
from audiolm_jax.tokenizers.acoustic.soundstream.config import DiscriminatorConfig, Dtype
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import Discriminators
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    discriminator_hinge,
    feature_distance,
    generator_hinge,
)
from audiolm_jax.training.state import Metrics
from audiolm_jax.training.update import apply_gradients

_METRICS = ("adversarial_loss", "feature_loss", "discriminator_loss", "grad_norm/discriminator")


class Adversary:
    """Discriminators that learn to tell audio from its reconstruction."""

    def __init__(
        self,
        config: DiscriminatorConfig,
        optimizer: optax.GradientTransformation,
        start_step: int,
        every: int,
        dtype: Dtype = "float32",
    ):
        """They take part from `start_step` on, and are updated at every n-th step from then."""
        self.config, self.optimizer, self.dtype = config, optimizer, dtype
        self.start_step, self.every = start_step, every
        self._graphdef = nnx.graphdef(nnx.eval_shape(lambda: self._build(jax.random.key(0))))

    def _build(self, key: PRNGKeyArray) -> Discriminators:
        return initialize(lambda draws: Discriminators(self.config, self.dtype, draws=draws), key)

    def init(self, key: PRNGKeyArray) -> nnx.State:
        """Parameters drawn from `key`."""
        return nnx.state(self._build(key), nnx.Param)

    def step(
        self,
        completed_steps: Int[Array, ""],
        params: nnx.State,
        opt_state: Any,
        real: Float[Array, "b s"],
        fake: Float[Array, "b s"],
        weightings: tuple[tuple[float, float], ...],
    ) -> tuple[nnx.State, Any, tuple[Float[Array, "b s"], ...], Metrics]:
        """Updates the discriminators, then asks them how `fake` should change.

        Returns parameters, optimizer state, for each of the `weightings` (adversarial, feature) the
        gradient of the weighted sum of both losses with respect to `fake`, and metrics; before
        `start_step` everything is as it was and gradients and metrics are 0.
        """

        def discriminate(params, audio):
            return nnx.merge(self._graphdef, params)(audio)

        def discriminator_loss(params):
            # One pass over [real_0, fake_0, real_1, ...]: a pair stays on one device.
            pairs = jnp.stack([real, fake], axis=1).reshape(-1, real.shape[1])
            outputs = discriminate(params, pairs)
            of_real, of_fake = (jax.tree.map(lambda x, i=i: x[i::2], outputs) for i in (0, 1))
            return discriminator_hinge(of_real, of_fake)

        def update():
            gradient = jax.grad(discriminator_loss)(params)
            *updated, norms = apply_gradients(self.optimizer, params, opt_state, gradient)
            return *updated, norms["grad_norm"]

        def run():
            if self.every == 1:
                new_params, new_opt_state, norm = update()
            else:
                is_due = (completed_steps - self.start_step) % self.every == 0
                unchanged = (params, opt_state, jnp.zeros(()))
                new_params, new_opt_state, norm = jax.lax.cond(is_due, update, lambda: unchanged)
            # By itself: no gradient runs back through it.
            of_real = discriminate(new_params, real)

            def generator_losses(fake):
                of_fake = discriminate(new_params, fake)
                hinge = generator_hinge(of_fake)
                features = feature_distance(of_real, of_fake)
                metrics = (hinge, features, discriminator_hinge(of_real, of_fake), norm)
                return (hinge, features), dict(zip(_METRICS, metrics, strict=True))

            _, backward, metrics = jax.vjp(generator_losses, fake, has_aux=True)
            gradients = [backward(tuple(map(jnp.float32, w)))[0] for w in weightings]
            return new_params, new_opt_state, tuple(gradients), metrics

        def skip():
            gradients = tuple(jnp.zeros_like(fake) for _ in weightings)
            return params, opt_state, gradients, dict.fromkeys(_METRICS, jnp.zeros(()))

        return jax.lax.cond(completed_steps >= self.start_step, run, skip)
