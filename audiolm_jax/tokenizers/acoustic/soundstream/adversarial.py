"""The discriminators' part of a training step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from audiolm_jax.nn.conv import initialize
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import (
    DiscriminatorConfig,
    Discriminators,
)
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    discriminator_hinge,
    feature_distance,
    generator_hinge,
)
from audiolm_jax.training.state import Metrics
from audiolm_jax.training.update import apply_gradients


@dataclasses.dataclass(frozen=True)
class Adversary:
    """Discriminators that learn to tell audio from its reconstruction.

    Attributes:
      config: their sizes.
      optimizer: of their parameters.
      start_step: first step that they take part in.
      every: they are updated at every n-th step from then on.
    """

    config: DiscriminatorConfig
    optimizer: optax.GradientTransformation
    start_step: int
    every: int

    def __post_init__(self) -> None:
        abstract = nnx.eval_shape(lambda: self._build(jax.random.key(0)))
        object.__setattr__(self, "_graphdef", nnx.graphdef(abstract))

    def _build(self, key: PRNGKeyArray) -> Discriminators:
        return initialize(lambda draws: Discriminators(self.config, draws=draws), key)

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

        Args:
          completed_steps: decides whether they take part.
          params: of the discriminators.
          opt_state: of their optimizer.
          real: the target.
          fake: the generator's output.
          weightings: (adversarial weight, feature weight) of each gradient that is wanted; each
            one costs a pass back through the discriminators.

        Returns:
          Parameters, optimizer state, for each weighting the gradient of the weighted sum of both
          losses with respect to `fake`, and metrics; before `start_step` everything is as it was
          and gradients and metrics are 0.
        """

        def judge(params, audio):
            return nnx.merge(self._graphdef, params)(audio)

        def judge_both(params):
            # One pass over [real_0, fake_0, real_1, ...]: a pair stays on one device.
            judgements = judge(params, jnp.stack([real, fake], axis=1).reshape(-1, real.shape[1]))
            split = [jax.tree.map(lambda x, i=i: x[i::2], judgements) for i in range(2)]
            return split[0], split[1]

        def update():
            gradient = jax.grad(lambda p: discriminator_hinge(*judge_both(p)))(params)
            new_params, new_opt_state, norms = apply_gradients(
                self.optimizer, params, opt_state, gradient
            )
            return new_params, new_opt_state, norms["grad_norm"]

        def run():
            if self.every == 1:
                new_params, new_opt_state, norm = update()
            else:
                new_params, new_opt_state, norm = jax.lax.cond(
                    (completed_steps - self.start_step) % self.every == 0,
                    update,
                    lambda: (params, opt_state, jnp.zeros(())),
                )

            of_real = judge(new_params, real)  # by itself: no gradient runs back through it

            def generator_losses(fake):
                of_fake = judge(new_params, fake)
                hinge = generator_hinge(of_fake)
                features = feature_distance(of_real, of_fake)
                return (hinge, features), {
                    "adversarial_loss": hinge,
                    "feature_loss": features,
                    "discriminator_loss": discriminator_hinge(of_real, of_fake),
                    "grad_norm/discriminator": norm,
                }

            _, backward, metrics = jax.vjp(generator_losses, fake, has_aux=True)
            gradients = [backward(tuple(map(jnp.float32, w)))[0] for w in weightings]
            return new_params, new_opt_state, tuple(gradients), metrics

        def skip():
            names = ("adversarial_loss", "feature_loss", "discriminator_loss")
            names += ("grad_norm/discriminator",)
            gradients = tuple(jnp.zeros_like(fake) for _ in weightings)
            return params, opt_state, gradients, dict.fromkeys(names, jnp.zeros(()))

        return jax.lax.cond(completed_steps >= self.start_step, run, skip)
