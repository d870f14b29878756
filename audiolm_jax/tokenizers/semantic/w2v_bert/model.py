"""w2v-BERT: an audio encoder trained by a contrastive and a masked-prediction task at once.

    samples - log-mel - subsampling (25 Hz) -+- mask - contrastive blocks -+- masked blocks -> ids
                                             |                             +-> context vectors
                                             +- quantizer (unmasked) -> targets of both tasks

Paper: Chung et al. 2021 (arXiv:2108.06209) as AudioLM section III-B uses it. The objectives best_rq
and units have masked prediction alone, of a random quantizer's ids (`best_rq.py`) and of ids given.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from audiolm_jax.audio.spectral import log_mel_spectrogram, warp_frequencies
from audiolm_jax.nn.padding import standardize_over_time, valid_frames
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.tokenizers.semantic.shifts import begun_later
from audiolm_jax.tokenizers.semantic.w2v_bert import draws
from audiolm_jax.tokenizers.semantic.w2v_bert.best_rq import random_projection_ids
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.conformer import ConformerStack, Linear, layer_norm
from audiolm_jax.tokenizers.semantic.w2v_bert.subsample import ConvolutionalSubsampling
from audiolm_jax.types import AudioBatch

# Added to the variance of each mel bin: a clip of near silence must not be blown up to noise.
MEL_VARIANCE_FLOOR = 1e-2
FEATURE_VARIANCE_FLOOR = 1e-5


class Quantized(NamedTuple):
    """What the quantizer makes of unmasked features."""

    ids: Array  # int32 [b, u], the most likely code, free of noise: targets of masked prediction
    sampled_ids: Array  # int32 [b, u], the code of `vectors`; equals `ids` without noise
    vectors: Array  # [b, u, code_width], the chosen code with a straight-through gradient
    probabilities: Array  # [b, u, codebook_size], softmax without noise or temperature


class Outputs(NamedTuple):
    """Everything that the losses read."""

    valid: Array  # bool [b, u], tokens that lie within their item
    subsampled: Array  # [b, u, d], before its norm (for the feature penalty)
    ids: Array  # int32 [b, u], the codes that masked prediction must guess
    logits: Array  # [b, u, codebook_size], output of the masked-prediction module
    quantized: Quantized | None  # targets of the contrastive task; None of objectives without it
    context: Array | None  # [b, u, code_width], of the contrastive module; None as above


class GumbelQuantizer(nnx.Module):
    """One codebook; codes are chosen by a linear layer, in training with Gumbel noise."""

    def __init__(self, config: W2vBertConfig, *, rngs: nnx.Rngs) -> None:
        width, codes = config.conformer.width, config.codebook_size
        # Logits must begin much larger than Gumbel noise, else codes are chance for long.
        kernel = annotate(draws.normal, "embed", "codes")
        bias = annotate(nnx.initializers.zeros_init(), "codes")
        self.logits = nnx.Linear(width, codes, kernel_init=kernel, bias_init=bias, rngs=rngs)
        init = annotate(draws.uniform, "codes", "embed")
        self.codebook = nnx.Param(init(rngs.params(), (codes, config.code_width)))

    def __call__(
        self,
        features: Float[Array, "b u d"],
        valid: Bool[Array, "b u"],
        temperature: Float[Array, ""] | float,
        key: Key[Array, ""] | None,
    ) -> Quantized:
        """Quantizes each frame; `key` switches the noise on."""
        # LayerNorm would leave a large part that all frames share, and so the same few codes.
        logits_BxUxC = self.logits(standardize_over_time(features, valid, FEATURE_VARIANCE_FLOOR))
        ids = jnp.argmax(logits_BxUxC, axis=-1).astype(jnp.int32)
        noisy_BxUxC = logits_BxUxC
        if key is not None:
            noisy_BxUxC = logits_BxUxC + draws.gumbel(key, logits_BxUxC.shape)
        sampled_ids = jnp.argmax(noisy_BxUxC, axis=-1).astype(jnp.int32)
        soft_BxUxC = jax.nn.softmax(noisy_BxUxC / temperature, axis=-1)
        hard_BxUxC = jax.nn.one_hot(sampled_ids, logits_BxUxC.shape[-1])
        chosen_BxUxC = hard_BxUxC + soft_BxUxC - jax.lax.stop_gradient(soft_BxUxC)
        vectors = jnp.einsum("buc,cd->bud", chosen_BxUxC, self.codebook[...])
        return Quantized(ids, sampled_ids, vectors, jax.nn.softmax(logits_BxUxC, axis=-1))


class W2vBert(nnx.Module):
    """The encoder with its quantizer and heads."""

    def __init__(self, config: W2vBertConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width, layers = config.conformer.width, config.contrastive_layers + config.masked_layers
        channels, contrastive = config.subsample_channels, config.objective == "w2v_bert"
        self.subsampling = ConvolutionalSubsampling(config.mel_bins, channels, width, rngs=rngs)
        self.feature_norm = layer_norm(width, rngs)
        self.quantizer = GumbelQuantizer(config, rngs=rngs) if contrastive else None
        # Both modules are one stack of equal blocks: it is scanned, and compiled, once.
        self.blocks = ConformerStack(config.conformer, layers, rngs=rngs)
        head = functools.partial(Linear, width, dtype="float32", rngs=rngs)
        self.context = head(config.code_width, ("embed", None)) if contrastive else None
        self.head = head(config.codebook_size, ("embed", "codes"))

    def mel(
        self, audio: AudioBatch, warp: Float[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
        """Log-mel of frequencies times `warp`, standardized over each item, 0 beyond; frames."""
        config = self.config
        mel, frames = log_mel_spectrogram(
            jnp.asarray(audio.samples),
            jnp.asarray(audio.lengths),
            sample_rate_hz=config.sample_rate_hz,
            fft_size=config.mel_fft_size,
            window_samples=config.mel_window_samples,
            hop_samples=config.mel_hop_samples,
            bins=config.mel_bins,
            floor=config.mel_floor,
        )
        if warp is not None:
            mel = warp_frequencies(mel, warp, config.sample_rate_hz)
        valid = valid_frames(frames, mel.shape[1])
        return standardize_over_time(mel, valid, MEL_VARIANCE_FLOOR), frames

    def for_inference(self) -> None:
        """Nothing to do."""

    def features(
        self, audio: AudioBatch, layer: str
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """As `EncoderModule.features`."""
        count = self.config.layer_names.index(layer) + 1
        x, lengths = self.subsampling(*self.mel(audio))
        valid = valid_frames(lengths, x.shape[1])
        x, _ = self.blocks(self.feature_norm(x), valid, count=count)
        return jnp.where(valid[:, :, None], x, 0), lengths

    def __call__(
        self,
        audio: AudioBatch,
        mask: Bool[Array, "b u"],
        mask_vectors: Float[Array, "b u d"],
        temperature: Float[Array, ""] | float,
        target_gradient_scale: float = 1.0,
        warp: Float[Array, " b"] | None = None,
        gumbel_key: Key[Array, ""] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        shift: Int[Array, " b"] | None = None,
        units: Int[Array, "b u"] | None = None,
    ) -> Outputs:
        """The tasks of the objective; keys switch noise and dropout on.

        The blocks see `mask_vectors` where `mask` hides a token, and hear all frequencies times
        `warp`, `shift` samples later; the targets are of the recording as it is, or `units`.
        """
        later = audio if shift is None else begun_later(audio, shift)
        # Only targets that are made here need the recording as it is.
        mel, frames = self.mel(audio) if units is None else self.mel(later, warp)
        subsampled, lengths = self.subsampling(mel, frames)
        valid = valid_frames(lengths, subsampled.shape[1])
        heard, quantized = subsampled, None
        if units is not None:
            ids = units
        elif self.quantizer is None:
            ids = random_projection_ids(mel, self.config)
        else:
            fixed = jax.lax.stop_gradient(subsampled)
            scaled = fixed + target_gradient_scale * (subsampled - fixed)
            quantized = self.quantizer(scaled, valid, temperature, gumbel_key)
            ids = quantized.ids
        if units is None and (warp is not None or shift is not None):
            heard = self.subsampling(*self.mel(later, warp))[0]
        x = jnp.where(mask[:, :, None], mask_vectors, self.feature_norm(heard))
        x = constrain(x, "batch", "length", None)
        x, tapped = self.blocks(x, valid, dropout_key, tap=self.config.contrastive_layers or None)
        context = None if self.context is None else self.context(tapped)
        return Outputs(valid, subsampled, ids, self.head(x), quantized, context)
