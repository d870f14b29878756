"""Training of the codec: one GAN step, discriminators first, with one pass of the generator."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from audiolm_jax import types
from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.errors import InputError
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.tokenizers.acoustic.codec import abstract_network
from audiolm_jax.tokenizers.acoustic.soundstream import rvq
from audiolm_jax.tokenizers.acoustic.soundstream.adversarial import Adversary
from audiolm_jax.tokenizers.acoustic.soundstream.balancer import (
    NormAverages,
    balance,
    empty_averages,
)
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    ADVERSARIAL,
    RECONSTRUCTION,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.film import condition
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    complex_distance,
    si_sdr_db,
    spectral_loss,
)
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    CODEBOOKS,
    SoundStream,
    build_generator,
)
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.training.update import apply_gradients, moving_average
from audiolm_jax.types import AudioBatch, DenoisingBatch


def program(
    model_config: SoundStreamConfig,
    train_config: SoundStreamTrainConfig,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The codec's trainer; its batches are `AudioBatch`es of crops of any one length.

    `params` and `opt_state` are {"generator", "discriminator"}, `rest` is {"codebooks"} and, with a
    balancer, {"balancer"}. The padding of short clips is silenced in target and estimate alike and
    counts in no codebook statistic and no spectral frame; the discriminators do see it.

    With `model.denoising` the batches are `DenoisingBatch`es, and the evaluation adds metrics of
    the noisy audio; a plain `AudioBatch` is audio without noise and with the switch off.
    """
    trainer = _Trainer(model_config, train_config, generator_optimizer, discriminator_optimizer)
    return TrainProgram(trainer.init, trainer.step, trainer.evaluate, trainer.export)


def roundtrip(
    model_config: SoundStreamConfig, train_config: SoundStreamTrainConfig
) -> Callable[[TrainState, AudioBatch], Float[Array, "b s"]]:
    """(state, batch) -> the batch as it sounds after the codec, [b, s]: to listen to."""
    trainer = _Trainer(model_config, train_config, optax.identity(), optax.identity())
    return lambda state, batch: trainer.hear(state, trainer.prepare(batch))[0]


class _Inputs(NamedTuple):
    samples: Array  # float32 [b, s], zero beyond the lengths like the targets
    targets: Array  # float32 [b, s]
    lengths: Array  # int32 [b]
    denoise: Array | None  # bool [b, 1], the switch; None for a codec without


class _Trainer:
    def __init__(
        self,
        model: SoundStreamConfig,
        config: SoundStreamTrainConfig,
        generator: optax.GradientTransformation,
        discriminator: optax.GradientTransformation,
    ):
        self.model, self.config = model, config
        self.optimizers = {"generator": generator, "discriminator": discriminator}
        self._generator = nnx.graphdef(abstract_network(SoundStream, model))
        start, every = config.discriminator_start_step, config.discriminator_every
        self._adversary = Adversary(config.discriminators, discriminator, start, every)

    def init(self, key: PRNGKeyArray) -> TrainState:
        generator_key, discriminator_key = jax.random.split(key)
        generator = nnx.state(build_generator(self.model, generator_key), nnx.Param)
        params = {"generator": generator, "discriminator": self._adversary.init(discriminator_key)}
        codebooks = rvq.empty_codebooks(self.model.quantizer, self.model.embedding_width)
        rest: dict[str, Any] = {"codebooks": codebooks}
        if self.config.balancer is not None:
            rest["balancer"] = empty_averages(len(self.config.balanced))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            rest=rest,
            opt_state={name: self.optimizers[name].init(params[name]) for name in params},
            ema=generator if self.config.generator_ema_decay else {},
        )

    def step(
        self, state: TrainState, batch: AudioBatch | DenoisingBatch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """The discriminators, then the generator on what they say after their update."""
        dropout_key, kmeans_key, revival_key = jax.random.split(key, 3)
        quantizer, weights = self.model.quantizer, self.config.losses
        decay = self.config.generator_ema_decay
        inputs = self.prepare(batch)
        self._check_revival(inputs.samples)
        dropout, examples = self.config.quantizer_dropout, len(inputs.lengths)
        depths = rvq.draw_depths(dropout_key, examples, quantizer.levels, dropout)

        def generate(params):
            estimate, quantized, codebooks = self._reconstruct(
                params, inputs, state.rest["codebooks"], depths, kmeans_key
            )
            return (estimate, quantized.commitment), (quantized.statistics, codebooks)

        (estimate, commitment), backward, (statistics, codebooks) = jax.vjp(
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
        usage = rvq.average_usage(statistics, codebooks, quantizer)
        codebooks = rvq.update_codebooks(statistics, codebooks, revival_key, quantizer)

        metrics = {
            "loss": weights.spectral_weight * spectral
            + weights.complex_weight * complex_loss
            + weights.commitment_weight * commitment
            + weights.adversarial_weight * adversarial["adversarial_loss"]
            + weights.feature_weight * adversarial["feature_loss"],
            "spectral_loss": spectral,
            **({"complex_loss": complex_loss} if weights.complex_weight else {}),
            "commitment_loss": commitment,
            **norms,
            "param_norm/discriminator": optax.tree.norm(discriminator),
            **adversarial,
            **output_norms,
            **_usage_metrics(usage, quantizer),
        }
        state = TrainState(
            step=state.step + 1,
            params={"generator": generator, "discriminator": discriminator},
            rest=balancer | {"codebooks": codebooks},
            opt_state={"generator": generator_opt, "discriminator": discriminator_opt},
            ema=moving_average(state.ema, generator, decay) if decay else state.ema,
        )
        return state, metrics

    def _reconstruct(
        self,
        params: nnx.State,
        inputs: _Inputs,
        codebooks: rvq.Codebooks,
        depths: Int[Array, " b"],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, "b s"], rvq.Quantized, rvq.Codebooks]:
        """Also gives the codebooks used, which come of k-means if they are still empty."""
        model: SoundStream = nnx.merge(self._generator, params)
        size, hop = inputs.samples.shape[1], self.model.hop_samples
        ahead = self.model.lookahead_frames
        padded = jnp.pad(inputs.samples, ((0, 0), (0, -size % hop + ahead * hop)))
        heard = model.encoder(padded)[:, ahead:]
        latents = condition(model.film, "encoder", heard, inputs.denoise)
        mask = valid_frames(-(-inputs.lengths // hop), latents.shape[1])
        constant = jax.lax.stop_gradient(latents)
        codebooks = rvq.initialize_codebooks(codebooks, constant, mask, key, self.model.quantizer)
        quantized = rvq.quantize(latents, mask, codebooks, depths)
        conditioned = condition(model.film, "decoder", quantized.latents, inputs.denoise)
        decoded = model.decoder(conditioned)[:, :size]
        return zero_beyond(decoded, inputs.lengths), quantized, codebooks

    def _reconstruction_losses(
        self, inputs: _Inputs, estimate: Float[Array, "b s"]
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

    def hear(self, state: TrainState, inputs: _Inputs) -> tuple[Float[Array, "b s"], rvq.Quantized]:
        """Encoded and decoded with all levels, as the exported codec would."""
        depths = jnp.full_like(inputs.lengths, self.model.levels)
        params, books = self._params(state), state.rest["codebooks"]
        estimate, quantized, _ = self._reconstruct(params, inputs, books, depths, jax.random.key(0))
        return estimate, quantized

    def evaluate(self, state: TrainState, batch: AudioBatch | DenoisingBatch) -> Sums:
        """Sums over examples that hold any audio, with all levels in use."""
        inputs = self.prepare(batch.clean if isinstance(batch, DenoisingBatch) else batch)
        estimate, quantized = self.hear(state, inputs)
        samples, _, lengths, switch = inputs
        present = (lengths > 0).astype(jnp.float32)
        rate, losses = self.model.sample_rate_hz, self.config.losses

        def spectral(x):
            return (spectral_loss(samples, x, lengths, rate, losses) * present).sum()

        def si_sdr(x):
            return (si_sdr_db(samples, x, lengths) * present).sum()

        frames = quantized.statistics.mask.sum().astype(jnp.float32)
        totals = {"spectral_loss": spectral(estimate), "si_sdr_db": si_sdr(estimate)}
        if isinstance(batch, DenoisingBatch):
            noisy = samples + self._silence(batch.noise, lengths)
            switch_on = None if switch is None else jnp.ones_like(switch)
            denoised, _ = self.hear(state, _Inputs(noisy, samples, lengths, switch_on))
            totals |= {
                "denoised/spectral_loss": spectral(denoised),
                "denoised/si_sdr_db": si_sdr(denoised),
                "noisy/si_sdr_db": si_sdr(noisy),
            }
        counts = dict.fromkeys(totals, present.sum())
        totals["commitment_loss"] = quantized.commitment * frames
        return Sums(totals, counts | {"commitment_loss": frames})

    def export(self, state: TrainState) -> dict[str, types.Array]:
        """encoder.* and decoder.* (the moving average if there is one), and the codebooks."""
        return {**named_leaves(self._params(state)), CODEBOOKS: state.rest["codebooks"].vectors}

    def _params(self, state: TrainState) -> Any:
        """Of the generator as it is heard."""
        return state.ema if self.config.generator_ema_decay else state.params["generator"]

    def prepare(self, batch: AudioBatch | DenoisingBatch) -> _Inputs:
        audio = batch.clean if isinstance(batch, DenoisingBatch) else batch
        lengths = jnp.asarray(audio.lengths)
        clean = self._silence(audio.samples, lengths)
        if isinstance(batch, AudioBatch):
            has_switch = self.model.denoising is not None
            switch = jnp.zeros((len(clean), 1), bool) if has_switch else None
            return _Inputs(clean, clean, lengths, switch)
        noisy = clean + self._silence(batch.noise, lengths)
        denoise = jnp.asarray(batch.denoise)[:, None]
        return _Inputs(noisy, jnp.where(denoise, clean, noisy), lengths, denoise)

    def _silence(
        self, samples: Float[types.Array, "b s"], lengths: Int[Array, " b"]
    ) -> Float[Array, "b s"]:
        return constrain(zero_beyond(jnp.asarray(samples), lengths), "batch", "time")

    def _check_revival(self, samples: Float[Array, "b s"]) -> None:
        threshold, codes = self.model.quantizer.revival_threshold, self.model.codebook_size
        frames = len(samples) * -(-samples.shape[1] // self.model.hop_samples)
        if threshold >= frames / codes:
            most = f"{frames} frames a step / {codes} codes; lower it or enlarge the batch"
            flag = "--model.quantizer.revival-threshold"
            raise InputError(f"{flag} = {threshold}: expected less than {most}")


def _usage_metrics(usage: Float[Array, "q n"], config: QuantizerConfig) -> dict[str, jax.Array]:
    """For each level the perplexity of the running usage, and how many codes were just revived."""
    dead = rvq.dead_codes(usage, config).sum(-1)
    metrics = {"perplexity": rvq.perplexity(usage), "dead_codes": dead}
    levels = range(config.levels)
    return {f"{name}/level_{i}": values[i] for name, values in metrics.items() for i in levels}
