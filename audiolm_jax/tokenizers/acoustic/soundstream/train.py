"""Training of the codec: encoder, quantizer and decoder against discriminators (`gan`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from audiolm_jax import types
from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.errors import InputError
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.tokenizers.acoustic.soundstream import rvq
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.film import condition
from audiolm_jax.tokenizers.acoustic.soundstream.gan import GanTrainer, Inputs, Reconstruction
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    CODEBOOKS,
    SoundStream,
    build_generator,
)
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
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


class _Trainer(GanTrainer):
    network_type = SoundStream

    def build(self, key: PRNGKeyArray) -> SoundStream:
        return build_generator(self.model, key)

    def first_rest(self) -> dict[str, Any]:
        width = self.model.embedding_width
        return {"codebooks": rvq.empty_codebooks(self.model.quantizer, width)}

    def reconstruct(
        self, params: nnx.State, inputs: Inputs, rest: dict[str, Any], key: PRNGKeyArray
    ) -> Reconstruction:
        dropout_key, kmeans_key, _ = jax.random.split(key, 3)
        self._check_revival(inputs.samples)
        dropout, examples = self.config.quantizer_dropout, len(inputs.lengths)
        depths = rvq.draw_depths(dropout_key, examples, self.model.quantizer.levels, dropout)
        estimate, quantized, codebooks = self._pass(
            params, inputs, rest["codebooks"], depths, kmeans_key
        )
        return Reconstruction(estimate, quantized.commitment, (quantized, codebooks))

    def settle(self, found: Any, key: PRNGKeyArray) -> tuple[dict[str, Any], Metrics]:
        quantized, codebooks = found
        quantizer, revival_key = self.model.quantizer, jax.random.split(key, 3)[2]
        usage = rvq.average_usage(quantized.statistics, codebooks, quantizer)
        codebooks = rvq.update_codebooks(quantized.statistics, codebooks, revival_key, quantizer)
        metrics = {"commitment_loss": quantized.commitment, **_usage_metrics(usage, quantizer)}
        return {"codebooks": codebooks}, metrics

    def _pass(
        self,
        params: nnx.State,
        inputs: Inputs,
        codebooks: rvq.Codebooks,
        depths: Array,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, "b s"], rvq.Quantized, rvq.Codebooks]:
        """Also gives the codebooks used, which come of k-means if they are still empty."""
        model: SoundStream = nnx.merge(self._generator, params)
        size, hop = inputs.samples.shape[1], self.model.hop_samples
        ahead = self.model.lookahead_frames
        padded = jnp.pad(inputs.samples, ((0, 0), (0, -size % hop + ahead * hop)))
        heard = model.encoder(padded, self.dtype)[:, ahead:]
        latents = condition(model.film, "encoder", heard, inputs.denoise)
        mask = valid_frames(-(-inputs.lengths // hop), latents.shape[1])
        constant = jax.lax.stop_gradient(latents)
        codebooks = rvq.initialize_codebooks(codebooks, constant, mask, key, self.model.quantizer)
        quantized = rvq.quantize(latents, mask, codebooks, depths)
        conditioned = condition(model.film, "decoder", quantized.latents, inputs.denoise)
        decoded = model.decoder(conditioned, self.dtype)[:, :size]
        return zero_beyond(decoded, inputs.lengths), quantized, codebooks

    def hear(self, state: TrainState, inputs: Inputs) -> tuple[Float[Array, "b s"], rvq.Quantized]:
        """Encoded and decoded with all levels, as the exported codec would."""
        depths = jnp.full_like(inputs.lengths, self.model.levels)
        params, books = self.heard_params(state), state.rest["codebooks"]
        estimate, quantized, _ = self._pass(params, inputs, books, depths, jax.random.key(0))
        return estimate, quantized

    def evaluate(self, state: TrainState, batch: AudioBatch | DenoisingBatch) -> Sums:
        """Sums over examples that hold any audio, with all levels in use."""
        inputs = self.prepare(batch.clean if isinstance(batch, DenoisingBatch) else batch)
        estimate, quantized = self.hear(state, inputs)
        samples, lengths, switch = inputs.samples, inputs.lengths, inputs.denoise
        plain = self.sums(inputs, estimate)
        totals, counts = dict(plain.totals), dict(plain.counts)
        if isinstance(batch, DenoisingBatch):
            noisy = samples + self.silenced(batch.noise, lengths)
            switch_on = None if switch is None else jnp.ones_like(switch)
            denoised, _ = self.hear(state, Inputs(noisy, samples, lengths, switch_on))
            of_denoised, of_noisy = self.sums(inputs, denoised), self.sums(inputs, noisy)
            more = {f"denoised/{name}": value for name, value in of_denoised.totals.items()}
            more["noisy/si_sdr_db"] = of_noisy.totals["si_sdr_db"]
            totals |= more
            counts |= dict.fromkeys(more, counts["si_sdr_db"])
        frames = quantized.statistics.mask.sum().astype(jnp.float32)
        commitment = {"commitment_loss": quantized.commitment * frames}
        return Sums(totals | commitment, counts | {"commitment_loss": frames})

    def export(self, state: TrainState) -> dict[str, types.Array]:
        """encoder.* and decoder.* (the moving average if there is one), and the codebooks."""
        codebooks = state.rest["codebooks"].vectors
        return {**named_leaves(self.heard_params(state)), CODEBOOKS: codebooks}

    def prepare(self, batch: AudioBatch | DenoisingBatch) -> Inputs:
        audio = batch.clean if isinstance(batch, DenoisingBatch) else batch
        lengths = jnp.asarray(audio.lengths)
        clean = self.silenced(audio.samples, lengths)
        if isinstance(batch, AudioBatch):
            has_switch = self.model.denoising is not None
            switch = jnp.zeros((len(clean), 1), bool) if has_switch else None
            return Inputs(clean, clean, lengths, switch)
        noisy = clean + self.silenced(batch.noise, lengths)
        denoise = jnp.asarray(batch.denoise)[:, None]
        return Inputs(noisy, jnp.where(denoise, clean, noisy), lengths, denoise)

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
