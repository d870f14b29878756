"""Training of the codec: one GAN step, discriminators first, with one pass of the generator."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import initialize
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.tokenizers.acoustic.soundstream.adversarial import Adversary
from audiolm_jax.tokenizers.acoustic.soundstream.balancer import balance, empty_averages
from audiolm_jax.tokenizers.acoustic.soundstream.film import condition
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    complex_distance,
    si_sdr_db,
    spectral_loss,
)
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    SoundStream,
    SoundStreamConfig,
    count_frames,
)
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import (
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
from audiolm_jax.tokenizers.acoustic.soundstream.train_config import (
    ADVERSARIAL,
    RECONSTRUCTION,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.training.update import apply_gradients, moving_average
from audiolm_jax.types import AudioBatch, DenoisingBatch

CODEBOOKS = "quantizer.codebooks"  # name of the exported array [q, n, d]


def program(
    model_config: SoundStreamConfig,
    train_config: SoundStreamTrainConfig,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The codec's trainer; its batches are `AudioBatch`es of crops of any one length.

    `params` and `opt_state` are {"generator", "discriminator"}, `rest` is {"codebooks"} and, with a
    balancer, {"balancer"}. Short clips are padded: the padding is silenced in target and estimate
    alike. It counts in no codebook statistic and in no spectral frame; the discriminators do see
    the common silence.

    With `model.denoising` the batches are `DenoisingBatch`es, and the evaluation adds two metrics
    of the noisy audio with the switch on against the clean one, and `noisy/si_sdr_db` of what went
    in. A plain `AudioBatch` is audio without noise and with the switch off.
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
    denoise: Bool[Array, "b _"] | None,
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
      denoise: its switch, for each frame or, [b, 1], each item; None if it has none.

    Returns:
      The reconstruction, zero beyond `lengths`; the quantiser's result; the codebooks used.
    """
    size = samples.shape[1]
    padded = jnp.pad(samples, ((0, 0), (0, -size % config.hop_samples)))
    latents = condition(model.film, "encoder", model.encoder(padded), denoise)
    frames = count_frames(lengths, config.hop_samples)
    mask = jnp.arange(latents.shape[1])[None] < frames[:, None]
    constant = jax.lax.stop_gradient(latents)
    codebooks = initialize_codebooks(codebooks, constant, mask, key, config.quantizer)
    quantized = quantize(latents, mask, codebooks, depths)
    conditioned = condition(model.film, "decoder", quantized.latents, denoise)
    decoded = model.decoder(conditioned)[:, :size]
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
        config = self.config
        adversary = Adversary(
            config.discriminators,
            self.discriminator_optimizer,
            config.discriminator_start_step,
            config.discriminator_every,
        )
        object.__setattr__(self, "_generator", nnx.graphdef(generator))
        object.__setattr__(self, "_adversary", adversary)

    def init(self, key: PRNGKeyArray) -> TrainState:
        generator_key, discriminator_key = jax.random.split(key)
        generator = nnx.state(build_generator(self.model_config, generator_key), nnx.Param)
        discriminator = self._adversary.init(discriminator_key)
        quantizer = self.model_config.quantizer
        rest = {"codebooks": empty_codebooks(quantizer, self.model_config.embedding_width)}
        if self.config.balancer is not None:
            rest["balancer"] = empty_averages(len(self.config.balanced))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params={"generator": generator, "discriminator": discriminator},
            rest=rest,
            opt_state={
                "generator": self.generator_optimizer.init(generator),
                "discriminator": self.discriminator_optimizer.init(discriminator),
            },
            ema=generator if self.config.generator_ema_decay else {},
        )

    def step(
        self, state: TrainState, batch: AudioBatch | DenoisingBatch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """Discriminators on the generator's output, then the generator on their new judgement."""
        dropout_key, kmeans_key, revival_key = jax.random.split(key, 3)
        quantizer, weights = self.model_config.quantizer, self.config.losses
        samples, targets, lengths, denoise = self._prepare(batch)
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
                denoise,
            )
            return (estimate, quantized.commitment), (quantized.statistics, codebooks)

        (estimate, commitment), backward, (statistics, codebooks) = jax.vjp(
            generate, state.params["generator"], has_aux=True
        )
        judges, judges_opt, adversarial_gradients, adversarial = self._adversary.step(
            state.step,
            state.params["discriminator"],
            state.opt_state["discriminator"],
            targets,
            estimate,
            self.config.weightings(ADVERSARIAL),
        )

        def reconstruction_losses(x):
            rate = self.model_config.sample_rate_hz
            spectral = spectral_loss(targets, x, lengths, rate, weights).mean()
            if not weights.complex_weight:
                return spectral, jnp.zeros(())
            return spectral, complex_distance(targets, x, lengths).mean()

        reconstruction, pass_back = jax.vjp(reconstruction_losses, estimate)
        weightings = self.config.weightings(RECONSTRUCTION)
        gradients = [pass_back(tuple(map(jnp.float32, w)))[0] for w in weightings]
        gradients += adversarial_gradients
        rest, output_norms = {}, {}
        if self.config.balancer is None:
            output_gradient = sum(gradients)
        else:
            output_gradient, rest["balancer"], found = balance(
                gradients,
                [self.config.weight(name) for name in self.config.balanced],
                state.rest["balancer"],
                self.config.balancer,
            )
            names = self.config.balanced
            output_norms = {f"output_grad_norm/{n}": found[i] for i, n in enumerate(names)}
        (gradient,) = backward(
            (output_gradient, jnp.full_like(commitment, weights.commitment_weight))
        )
        generator, generator_opt, norms = apply_gradients(
            self.generator_optimizer,
            state.params["generator"],
            state.opt_state["generator"],
            gradient,
        )
        usage = average_usage(statistics, codebooks, quantizer)
        codebooks = update_codebooks(statistics, codebooks, revival_key, quantizer)

        metrics = {
            "loss": weights.spectral_weight * reconstruction[0]
            + weights.complex_weight * reconstruction[1]
            + weights.commitment_weight * commitment
            + weights.adversarial_weight * adversarial["adversarial_loss"]
            + weights.feature_weight * adversarial["feature_loss"],
            "spectral_loss": reconstruction[0],
            **({"complex_loss": reconstruction[1]} if weights.complex_weight else {}),
            "commitment_loss": commitment,
            **norms,
            "param_norm/discriminator": optax.tree.norm(judges),
            **adversarial,
            **output_norms,
            **_usage_metrics(usage, quantizer),
        }
        state = TrainState(
            step=state.step + 1,
            params={"generator": generator, "discriminator": judges},
            rest=rest | {"codebooks": codebooks},
            opt_state={"generator": generator_opt, "discriminator": judges_opt},
            ema=self._average(state.ema, generator),
        )
        return state, metrics

    def roundtrip(
        self, state: TrainState, batch: AudioBatch
    ) -> tuple[Float[Array, "b s"], Quantized]:
        """The batch encoded and decoded with all levels, as the exported codec would."""
        samples, _, lengths, denoise = self._prepare(batch)
        return self._hear(state, samples, lengths, denoise)

    def _hear(
        self, state: TrainState, samples: Array, lengths: Array, denoise: Array | None
    ) -> tuple[Array, Quantized]:
        params = state.ema if self.config.generator_ema_decay else state.params["generator"]
        estimate, quantized, _ = reconstruct(
            nnx.merge(self._generator, params),
            samples,
            lengths,
            state.rest["codebooks"],
            jnp.full_like(lengths, self.model_config.quantizer.levels),
            jax.random.key(0),
            self.model_config,
            denoise,
        )
        return estimate, quantized

    def evaluate(self, state: TrainState, batch: AudioBatch | DenoisingBatch) -> Sums:
        """Sums over examples that hold any audio, with all levels in use."""
        clean = batch.clean if isinstance(batch, DenoisingBatch) else batch
        samples, _, lengths, denoise = self._prepare(clean)
        estimate, quantized = self._hear(state, samples, lengths, denoise)
        present = (lengths > 0).astype(jnp.float32)
        rate, losses = self.model_config.sample_rate_hz, self.config.losses

        def spectral(x):
            return (spectral_loss(samples, x, lengths, rate, losses) * present).sum()

        def si_sdr(x):
            return (si_sdr_db(samples, x, lengths) * present).sum()

        frames = quantized.statistics.mask.sum().astype(jnp.float32)
        totals = {"spectral_loss": spectral(estimate), "si_sdr_db": si_sdr(estimate)}
        if isinstance(batch, DenoisingBatch):
            noisy = samples + zero_beyond(batch.noise, lengths)
            denoised, _ = self._hear(state, noisy, lengths, jnp.ones_like(denoise))
            totals |= {
                "denoised/spectral_loss": spectral(denoised),
                "denoised/si_sdr_db": si_sdr(denoised),
                "noisy/si_sdr_db": si_sdr(noisy),
            }
        counts = dict.fromkeys(totals, present.sum())
        totals["commitment_loss"] = quantized.commitment * frames
        return Sums(totals, counts | {"commitment_loss": frames})

    def export(self, state: TrainState) -> dict[str, np.ndarray]:
        """encoder.* and decoder.* (the moving average if one is kept), and the codebooks."""
        params = state.ema if self.config.generator_ema_decay else state.params["generator"]
        vectors = np.asarray(state.rest["codebooks"].vectors)
        return {**flatten_state(params), CODEBOOKS: vectors}

    def _prepare(
        self, batch: AudioBatch | DenoisingBatch
    ) -> tuple[Array, Array, Array, Array | None]:
        """(input, target, lengths, switch [b, 1] or None); zeros beyond the lengths."""
        if isinstance(batch, AudioBatch):
            samples = self._silence(batch.samples, batch.lengths)
            has_switch = self.model_config.denoising is not None
            denoise = jnp.zeros((len(samples), 1), bool) if has_switch else None
            return samples, samples, jnp.asarray(batch.lengths), denoise
        clean = self._silence(batch.clean.samples, batch.clean.lengths)
        noisy = clean + self._silence(batch.noise, batch.clean.lengths)
        denoise = jnp.asarray(batch.denoise)[:, None]
        return noisy, jnp.where(denoise, clean, noisy), jnp.asarray(batch.clean.lengths), denoise

    def _silence(self, samples: Array, lengths: Array) -> Array:
        return constrain(zero_beyond(jnp.asarray(samples), lengths), "batch", "time")

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
        return moving_average(ema, params, decay) if decay else ema


def _usage_metrics(usage: Float[Array, "q n"], config: QuantizerConfig) -> dict[str, Array]:
    """For each level the perplexity of the running usage, and how many codes were just revived."""
    spread = perplexity(usage)
    dead = dead_codes(usage, config).sum(-1)
    levels = range(config.levels)
    return {f"perplexity/level_{i}": spread[i] for i in levels} | {
        f"dead_codes/level_{i}": dead[i] for i in levels
    }
