"""One GAN step, discriminators first, with one pass of the generator: what a codec and a decoder
of frozen tokens are trained by."""

import abc
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from audiolm_jax import types
from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.nn.partition import constrain
from audiolm_jax.tokenizers.acoustic.codec import abstract_network
from audiolm_jax.tokenizers.acoustic.soundstream.adversarial import Adversary
from audiolm_jax.tokenizers.acoustic.soundstream.balancer import (
    NormAverages,
    balance,
    empty_averages,
)
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    ADVERSARIAL,
    RECONSTRUCTION,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    complex_distance,
    si_sdr_db,
    spectral_loss,
)
from audiolm_jax.training.state import Metrics, Sums, TrainState
from audiolm_jax.training.update import apply_gradients, moving_average


class Inputs(NamedTuple):
    """What the generator hears and what it shall give."""

    samples: Array  # float32 [b, s], zero beyond the lengths like the targets
    targets: Array  # float32 [b, s]
    lengths: Array  # int32 [b]
    denoise: Array | None = None  # bool [b, 1], the switch; None for a codec without
    vectors: Array | None = None  # float32 [b, t, d] of frozen tokens; None for a codec


class Reconstruction(NamedTuple):
    """What a pass of the generator gives."""

    estimate: Array  # float32 [b, s]
    commitment: Array  # float32 [], 0 where nothing is quantized
    found: Any  # what `settle` needs of the pass, without gradient


class GanTrainer(abc.ABC):
    """`params` and `opt_state` are {"generator", "discriminator"}; `rest` is what the subclass
    keeps and, with a balancer, {"balancer"}."""

    network_type: Any  # the generator

    def __init__(
        self,
        model: SoundStreamConfig,
        config: SoundStreamTrainConfig,
        generator: optax.GradientTransformation,
        discriminator: optax.GradientTransformation,
    ):
        self.model, self.config = model, config
        self.dtype = jnp.dtype(config.compute_dtype)
        self.optimizers = {"generator": generator, "discriminator": discriminator}
        self._generator = nnx.graphdef(abstract_network(self.network_type, model))
        start, every = config.discriminator_start_step, config.discriminator_every
        self._adversary = Adversary(
            config.discriminators, discriminator, start, every, config.compute_dtype
        )

    @abc.abstractmethod
    def build(self, key: PRNGKeyArray) -> nnx.Module:
        """A generator with fresh weights."""

    @abc.abstractmethod
    def first_rest(self) -> dict[str, Any]:
        """What is kept beside the parameters, at step 0."""

    @abc.abstractmethod
    def prepare(self, batch: Any) -> Inputs:
        """A batch of the data, silenced beyond its lengths."""

    @abc.abstractmethod
    def reconstruct(
        self, params: nnx.State, inputs: Inputs, rest: dict[str, Any], key: PRNGKeyArray
    ) -> Reconstruction:
        """A pass of the generator in training."""

    @abc.abstractmethod
    def settle(self, found: Any, key: PRNGKeyArray) -> tuple[dict[str, Any], Metrics]:
        """What is kept beside the parameters after a step, and metrics of it; the same key."""

    @abc.abstractmethod
    def export(self, state: TrainState) -> dict[str, types.Array]:
        """The arrays of the model folder."""

    def init(self, key: PRNGKeyArray) -> TrainState:
        """Fresh weights."""
        generator_key, discriminator_key = jax.random.split(key)
        generator = nnx.state(self.build(generator_key), nnx.Param)
        params = {"generator": generator, "discriminator": self._adversary.init(discriminator_key)}
        rest = self.first_rest()
        if self.config.balancer is not None:
            rest["balancer"] = empty_averages(len(self.config.balanced))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            rest=rest,
            opt_state={name: self.optimizers[name].init(params[name]) for name in params},
            ema=generator if self.config.generator_ema_decay else {},
        )

    def step(self, state: TrainState, batch: Any, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        """The discriminators, then the generator on what they say after their update."""
        weights, decay = self.config.losses, self.config.generator_ema_decay
        inputs = self.prepare(batch)

        def generate(params):
            estimate, commitment, found = self.reconstruct(params, inputs, state.rest, key)
            return (estimate, commitment), found

        (estimate, commitment), backward, found = jax.vjp(
            generate, state.params["generator"], has_aux=True
        )
        old, old_opt = state.params["discriminator"], state.opt_state["discriminator"]
        weightings = self.config.weightings(ADVERSARIAL)
        discriminator, discriminator_opt, adversarial_gradients, adversarial = self._adversary.step(
            state.step, old, old_opt, inputs.targets, estimate, weightings
        )
        (spectral, complex_loss), gradients = self._reconstruction_losses(inputs, estimate)
        output_gradient, balancer, output_norms = self._combine(
            gradients + adversarial_gradients, state.rest.get("balancer")
        )
        commitment_gradient = jnp.full_like(commitment, weights.commitment_weight)
        (gradient,) = backward((output_gradient, commitment_gradient))
        old, old_opt = state.params["generator"], state.opt_state["generator"]
        optimizer = self.optimizers["generator"]
        generator, generator_opt, norms = apply_gradients(optimizer, old, old_opt, gradient)
        rest, own = self.settle(found, key)

        metrics = {
            "loss": weights.spectral_weight * spectral
            + weights.complex_weight * complex_loss
            + weights.commitment_weight * commitment
            + weights.adversarial_weight * adversarial["adversarial_loss"]
            + weights.feature_weight * adversarial["feature_loss"],
            "spectral_loss": spectral,
            **({"complex_loss": complex_loss} if weights.complex_weight else {}),
            **norms,
            "param_norm/discriminator": optax.tree.norm(discriminator),
            **adversarial,
            **output_norms,
            **own,
        }
        state = TrainState(
            step=state.step + 1,
            params={"generator": generator, "discriminator": discriminator},
            rest=balancer | rest,
            opt_state={"generator": generator_opt, "discriminator": discriminator_opt},
            ema=moving_average(state.ema, generator, decay) if decay else state.ema,
        )
        return state, metrics

    def _reconstruction_losses(
        self, inputs: Inputs, estimate: Float[Array, "b s"]
    ) -> tuple[tuple[Float[Array, ""], Float[Array, ""]], tuple[Float[Array, "b s"], ...]]:
        """Spectral and complex loss, and the gradient for each weighting of both."""
        rate, weights = self.model.sample_rate_hz, self.config.losses

        def losses(x):
            spectral = spectral_loss(inputs.targets, x, inputs.lengths, rate, weights).mean()
            if not weights.complex_weight:
                return spectral, jnp.zeros(())
            return spectral, complex_distance(inputs.targets, x, inputs.lengths).mean()

        values, backward = jax.vjp(losses, estimate)
        weightings = self.config.weightings(RECONSTRUCTION)
        return values, tuple(backward(tuple(map(jnp.float32, w)))[0] for w in weightings)

    def _combine(
        self, gradients: tuple[Float[Array, "b s"], ...], averages: NormAverages | None
    ) -> tuple[Float[Array, "b s"], dict[str, NormAverages], Metrics]:
        """Gradient of the reconstruction, what the balancer keeps for the next step, metrics."""
        if self.config.balancer is None or averages is None:
            return functools.reduce(jnp.add, gradients), {}, {}
        names = self.config.balanced
        weights = [self.config.weight(name) for name in names]
        gradient, averages, sizes = balance(gradients, weights, averages, self.config.balancer)
        metrics = {f"output_grad_norm/{name}": sizes[i] for i, name in enumerate(names)}
        return gradient, {"balancer": averages}, metrics

    def sums(self, inputs: Inputs, estimate: Float[Array, "b s"]) -> Sums:
        """Sums over examples that hold any audio, of the estimate against the samples."""
        present = (inputs.lengths > 0).astype(jnp.float32)
        rate, losses = self.model.sample_rate_hz, self.config.losses
        pair = inputs.samples, estimate, inputs.lengths
        totals = {
            "spectral_loss": (spectral_loss(*pair, rate, losses) * present).sum(),
            "si_sdr_db": (si_sdr_db(*pair) * present).sum(),
        }
        return Sums(totals, dict.fromkeys(totals, present.sum()))

    def heard_params(self, state: TrainState) -> Any:
        """Of the generator as it is heard: the moving average if there is one."""
        return state.ema if self.config.generator_ema_decay else state.params["generator"]

    def silenced(
        self, samples: Float[types.Array, "b s"], lengths: Int[Array, " b"]
    ) -> Float[Array, "b s"]:
        """Samples with zeros beyond their lengths."""
        return constrain(zero_beyond(jnp.asarray(samples), lengths), "batch", "time")
