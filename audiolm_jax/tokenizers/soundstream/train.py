"""Training of the codec: one GAN step, discriminators first, with one pass of the generator."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import initialize
from audiolm_jax.nn.partition import constrain
from audiolm_jax.records import AudioBatch
from audiolm_jax.runtime.optim import norms
from audiolm_jax.runtime.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.runtime.weights import flatten_state
from audiolm_jax.tokenizers.soundstream.discriminators import DiscriminatorConfig, Discriminators
from audiolm_jax.tokenizers.soundstream.losses import (
    LossConfig,
    complex_distance,
    discriminator_hinge,
    feature_distance,
    generator_hinge,
    si_sdr_db,
    spectral_loss,
)
from audiolm_jax.tokenizers.soundstream.model import SoundStream, SoundStreamConfig, count_frames
from audiolm_jax.tokenizers.soundstream.rvq import (
    Codebooks,
    Quantized,
    QuantizerConfig,
    average_usage,
    dead_codes,
    draw_depths,
    empty_codebooks,
    initialize_codebooks,
    perplexity,
    quantize,
    update_codebooks,
)

CODEBOOKS = "quantizer.codebooks"  # name of the exported array [q, n, d]


@dataclasses.dataclass(frozen=True)
class SoundStreamTrainConfig:
    """How the codec is trained, apart from its size, its optimizers and its data.

    Attributes:
      losses: weights and reductions.
      discriminators: their sizes.
      discriminator_start_step: first step with adversarial and feature losses; before it the
        discriminators cost nothing and do not change.
      discriminator_every: the discriminators are updated at every n-th step from then on.
      quantizer_dropout: probability that an example's number of levels is drawn from 1 to Q
        (paper: 1).
      generator_ema_decay: decay of the moving average of the generator's weights, which is then
        what is evaluated and exported; 0 keeps none (paper: none).
    """

    losses: LossConfig = dataclasses.field(default_factory=LossConfig)
    discriminators: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    discriminator_start_step: int = 0
    discriminator_every: int = 1
    quantizer_dropout: float = 1.0
    generator_ema_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.discriminator_start_step < 0:
            raise InputError(
                f"discriminator_start_step = {self.discriminator_start_step}: expected 0 or more"
            )
        if self.discriminator_every < 1:
            raise InputError(
                f"discriminator_every = {self.discriminator_every}: expected 1 or more"
            )
        if not 0 <= self.quantizer_dropout <= 1:
            raise InputError(f"quantizer_dropout = {self.quantizer_dropout}: expected 0 to 1")
        if not 0 <= self.generator_ema_decay < 1:
            raise InputError(
                f"generator_ema_decay = {self.generator_ema_decay}: expected 0 (off) to below 1"
            )


def program(
    model_config: SoundStreamConfig,
    train_config: SoundStreamTrainConfig,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The codec's trainer; its batches are `AudioBatch`es of crops of any one length.

    `params` and `opt_state` are {"generator", "discriminator"}, `rest` is {"codebooks"}. Short
    clips are padded: the padding is silenced in target and estimate alike. It counts in no
    codebook statistic and in no spectral frame; the discriminators do see the common silence.
    """
    trainer = _Trainer(model_config, train_config, generator_optimizer, discriminator_optimizer)
    return TrainProgram(trainer.init, trainer.step, trainer.evaluate, trainer.export)


def roundtrip(
    model_config: SoundStreamConfig, train_config: SoundStreamTrainConfig
) -> Callable[[TrainState, AudioBatch], Float[Array, "b s"]]:
    """(state, batch) -> the batch as it sounds after the codec, [b, s]: to listen to."""
    nothing = optax.identity()
    trainer = _Trainer(model_config, train_config, nothing, nothing)
    return lambda state, batch: trainer.roundtrip(state, batch)[0]


def build_generator(config: SoundStreamConfig, key: PRNGKeyArray) -> SoundStream:
    """A freshly initialised encoder and decoder."""
    return initialize(lambda draws: SoundStream(config, draws=draws), key)


def reconstruct(
    model: SoundStream,
    samples: Float[Array, "b s"],
    lengths: Int[Array, " b"],
    codebooks: Codebooks,
    depths: Int[Array, " b"],
    key: PRNGKeyArray,
    config: SoundStreamConfig,
) -> tuple[Float[Array, "b s"], Quantized, Codebooks]:
    """Encodes, quantises (after k-means if the codebooks are still empty) and decodes.

    Args:
      model: encoder and decoder.
      samples: [b, s], zero beyond `lengths`; any s, padded here to whole frames.
      lengths: valid samples.
      codebooks: of the step before.
      depths: levels in use for each example.
      key: for k-means.
      config: of the model.

    Returns:
      The reconstruction, zero beyond `lengths`; the quantiser's result; the codebooks used.
    """
    size = samples.shape[1]
    padded = jnp.pad(samples, ((0, 0), (0, -size % config.hop_samples)))
    latents = model.encoder(padded)
    frames = count_frames(lengths, config.hop_samples)
    mask = jnp.arange(latents.shape[1])[None] < frames[:, None]
    constant = jax.lax.stop_gradient(latents)
    codebooks = initialize_codebooks(codebooks, constant, mask, key, config.quantizer)
    quantized = quantize(latents, mask, codebooks, depths)
    decoded = model.decoder(quantized.latents)[:, :size]
    return zero_beyond(decoded, lengths), quantized, codebooks


@dataclasses.dataclass(frozen=True)
class _Trainer:
    model_config: SoundStreamConfig
    config: SoundStreamTrainConfig
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation

    def __post_init__(self) -> None:
        key = jax.random.key(0)
        generator = nnx.eval_shape(lambda: build_generator(self.model_config, key))
        discriminator = nnx.eval_shape(lambda: self._build_discriminators(key))
        object.__setattr__(self, "_generator", nnx.graphdef(generator))
        object.__setattr__(self, "_discriminators", nnx.graphdef(discriminator))

    def _build_discriminators(self, key: PRNGKeyArray) -> Discriminators:
        config = self.config.discriminators
        return initialize(lambda draws: Discriminators(config, draws=draws), key)

    def init(self, key: PRNGKeyArray) -> TrainState:
        generator_key, discriminator_key = jax.random.split(key)
        generator = nnx.state(build_generator(self.model_config, generator_key), nnx.Param)
        discriminator = nnx.state(self._build_discriminators(discriminator_key), nnx.Param)
        quantizer = self.model_config.quantizer
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params={"generator": generator, "discriminator": discriminator},
            rest={"codebooks": empty_codebooks(quantizer, self.model_config.embedding_width)},
            opt_state={
                "generator": self.generator_optimizer.init(generator),
                "discriminator": self.discriminator_optimizer.init(discriminator),
            },
            ema=generator if self.config.generator_ema_decay else {},
        )

    def step(
        self, state: TrainState, batch: AudioBatch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """Discriminators on the generator's output, then the generator on their new judgement."""
        dropout_key, kmeans_key, revival_key = jax.random.split(key, 3)
        quantizer, weights = self.model_config.quantizer, self.config.losses
        samples, lengths = self._prepare(batch)
        self._check_revival(samples)
        depths = draw_depths(
            dropout_key, len(lengths), quantizer.levels, self.config.quantizer_dropout
        )

        def generate(params):
            model = nnx.merge(self._generator, params)
            estimate, quantized, codebooks = reconstruct(
                model,
                samples,
                lengths,
                state.rest["codebooks"],
                depths,
                kmeans_key,
                self.model_config,
            )
            return (estimate, quantized.commitment), (quantized.statistics, codebooks)

        (estimate, commitment), backward, (statistics, codebooks) = jax.vjp(
            generate, state.params["generator"], has_aux=True
        )
        judges, judges_opt, adversarial_gradient, adversarial = self._adversarial_part(
            state, samples, estimate
        )

        def reconstruction_loss(x):
            rate = self.model_config.sample_rate_hz
            spectral = spectral_loss(samples, x, lengths, rate, weights).mean()
            losses = {"spectral_loss": spectral}
            total = weights.spectral_weight * spectral
            if weights.complex_weight:
                losses["complex_loss"] = complex_distance(samples, x, lengths).mean()
                total += weights.complex_weight * losses["complex_loss"]
            return total, losses

        (reconstruction, losses), reconstruction_gradient = jax.value_and_grad(
            reconstruction_loss, has_aux=True
        )(estimate)
        (gradient,) = backward(
            (
                reconstruction_gradient + adversarial_gradient,
                jnp.full_like(commitment, weights.commitment_weight),
            )
        )
        updates, generator_opt = self.generator_optimizer.update(
            gradient, state.opt_state["generator"], state.params["generator"]
        )
        generator = optax.apply_updates(state.params["generator"], updates)
        usage = average_usage(statistics, codebooks, quantizer)
        codebooks = update_codebooks(statistics, codebooks, revival_key, quantizer)

        metrics = {
            "loss": reconstruction
            + weights.commitment_weight * commitment
            + weights.adversarial_weight * adversarial["adversarial_loss"]
            + weights.feature_weight * adversarial["feature_loss"],
            **losses,
            "commitment_loss": commitment,
            **norms(gradient, generator),
            "param_norm/discriminator": optax.tree.norm(judges),
            **adversarial,
            **_usage_metrics(usage, quantizer),
        }
        state = TrainState(
            step=state.step + 1,
            params={"generator": generator, "discriminator": judges},
            rest={"codebooks": codebooks},
            opt_state={"generator": generator_opt, "discriminator": judges_opt},
            ema=self._average(state.ema, generator),
        )
        return state, metrics

    def _adversarial_part(
        self, state: TrainState, real: Float[Array, "b s"], fake: Float[Array, "b s"]
    ) -> tuple[Any, Any, Float[Array, "b s"], Metrics]:
        """Updated discriminators and the gradient of the weighted adversarial losses in `fake`."""
        params, opt_state = state.params["discriminator"], state.opt_state["discriminator"]

        def judge_both(params, fake):
            # One pass over [real_0, fake_0, real_1, ...]: a pair stays on one device.
            pairs = jnp.stack([real, fake], axis=1).reshape(-1, real.shape[1])
            judgements = nnx.merge(self._discriminators, params)(pairs)
            split = [jax.tree.map(lambda x, i=i: x[i::2], judgements) for i in range(2)]
            return split[0], split[1]

        def update_discriminators():
            gradient = jax.grad(lambda p: discriminator_hinge(*judge_both(p, fake)))(params)
            updates, new_opt_state = self.discriminator_optimizer.update(
                gradient, opt_state, params
            )
            norm = optax.tree.norm(gradient)
            return optax.apply_updates(params, updates), new_opt_state, norm

        def generator_losses(fake, params):
            of_real, of_fake = judge_both(params, fake)
            hinge = generator_hinge(of_fake)
            features = feature_distance(jax.lax.stop_gradient(of_real), of_fake)
            weights = self.config.losses
            total = weights.adversarial_weight * hinge + weights.feature_weight * features
            return total, {
                "adversarial_loss": hinge,
                "feature_loss": features,
                "discriminator_loss": discriminator_hinge(of_real, of_fake),
            }

        def run():
            late = state.step - self.config.discriminator_start_step
            if self.config.discriminator_every == 1:
                new_params, new_opt_state, norm = update_discriminators()
            else:
                new_params, new_opt_state, norm = jax.lax.cond(
                    late % self.config.discriminator_every == 0,
                    update_discriminators,
                    lambda: (params, opt_state, jnp.zeros(())),
                )
            gradient, losses = jax.grad(generator_losses, has_aux=True)(fake, new_params)
            return new_params, new_opt_state, gradient, losses | {"grad_norm/discriminator": norm}

        def skip():
            zero = jnp.zeros(())
            names = ("adversarial_loss", "feature_loss", "discriminator_loss")
            names += ("grad_norm/discriminator",)
            return params, opt_state, jnp.zeros_like(fake), dict.fromkeys(names, zero)

        return jax.lax.cond(state.step >= self.config.discriminator_start_step, run, skip)

    def roundtrip(
        self, state: TrainState, batch: AudioBatch
    ) -> tuple[Float[Array, "b s"], Quantized]:
        """The batch encoded and decoded with all levels, as the exported codec would."""
        samples, lengths = self._prepare(batch)
        params = state.ema if self.config.generator_ema_decay else state.params["generator"]
        estimate, quantized, _ = reconstruct(
            nnx.merge(self._generator, params),
            samples,
            lengths,
            state.rest["codebooks"],
            jnp.full_like(lengths, self.model_config.quantizer.levels),
            jax.random.key(0),
            self.model_config,
        )
        return estimate, quantized

    def evaluate(self, state: TrainState, batch: AudioBatch) -> Sums:
        """Sums over examples that hold any audio, with all levels in use."""
        samples, lengths = self._prepare(batch)
        estimate, quantized = self.roundtrip(state, batch)
        present = (lengths > 0).astype(jnp.float32)
        spectral = spectral_loss(
            samples, estimate, lengths, self.model_config.sample_rate_hz, self.config.losses
        )
        frames = quantized.statistics.mask.sum().astype(jnp.float32)
        totals = {
            "spectral_loss": (spectral * present).sum(),
            "si_sdr_db": (si_sdr_db(samples, estimate, lengths) * present).sum(),
            "commitment_loss": quantized.commitment * frames,
        }
        counts = {
            "spectral_loss": present.sum(),
            "si_sdr_db": present.sum(),
            "commitment_loss": frames,
        }
        return Sums(totals, counts)

    def export(self, state: TrainState) -> dict[str, np.ndarray]:
        """encoder.* and decoder.* (the moving average if one is kept), and the codebooks."""
        params = state.ema if self.config.generator_ema_decay else state.params["generator"]
        vectors = np.asarray(state.rest["codebooks"].vectors)
        return {**flatten_state(params), CODEBOOKS: vectors}

    def _prepare(self, batch: AudioBatch) -> tuple[Array, Array]:
        samples = zero_beyond(jnp.asarray(batch.samples), batch.lengths)
        return constrain(samples, "batch", "time"), jnp.asarray(batch.lengths)

    def _check_revival(self, samples: Array) -> None:
        quantizer = self.model_config.quantizer
        frames = len(samples) * count_frames(samples.shape[1], self.model_config.hop_samples)
        if quantizer.revival_threshold >= frames / quantizer.codebook_size:
            raise InputError(
                f"quantizer.revival_threshold = {quantizer.revival_threshold}: expected less than "
                f"the mean use of a code, {frames} frames a step / {quantizer.codebook_size} codes "
                f"= {frames / quantizer.codebook_size:.3g}; lower it or enlarge the batch"
            )

    def _average(self, ema: Any, params: Any) -> Any:
        decay = self.config.generator_ema_decay
        if not decay:
            return ema
        return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, params)


def _usage_metrics(usage: Float[Array, "q n"], config: QuantizerConfig) -> dict[str, Array]:
    """For each level the perplexity of the running usage, and how many codes were just revived."""
    spread = perplexity(usage)
    dead = dead_codes(usage, config).sum(-1)
    levels = range(config.levels)
    return {f"perplexity/level_{i}": spread[i] for i in levels} | {
        f"dead_codes/level_{i}": dead[i] for i in levels
    }
