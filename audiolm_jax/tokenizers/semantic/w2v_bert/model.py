"""w2v-BERT: an audio encoder trained by a contrastive and a masked-prediction task at once.

    samples - log-mel - subsampling (25 Hz) -+- mask - contrastive blocks -+- masked blocks -> ids
                                             |                             +-> context vectors
                                             +- quantiser (unmasked) -> targets of both tasks

Paper: Chung et al. 2021 (arXiv:2108.06209) as AudioLM section III-B uses it. With the objective
best_rq there is masked prediction alone, of what a random quantiser makes of the spectrogram
(`best_rq.py`); there are no contrastive blocks and no context vectors.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from audiolm_jax.audio.spectral import log_mel_spectrogram, warp_frequencies
from audiolm_jax.errors import InputError
from audiolm_jax.nn.padding import standardize_over_time, valid_frames
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.tokenizers.semantic.w2v_bert import draws
from audiolm_jax.tokenizers.semantic.w2v_bert.best_rq import random_projection_ids
from audiolm_jax.tokenizers.semantic.w2v_bert.conformer import (
    ConformerConfig,
    ConformerStack,
    layer_norm,
    linear,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.subsample import (
    FRAMES_PER_TOKEN,
    ConvolutionalSubsampling,
)
from audiolm_jax.types import AudioBatch

# Added to the variance of each mel bin: a clip of near silence must not be blown up to noise.
MEL_VARIANCE_FLOOR = 1e-2
FEATURE_VARIANCE_FLOOR = 1e-5


@dataclasses.dataclass(frozen=True)
class W2vBertConfig:
    """Sizes of the encoder; the defaults are w2v-BERT XL's (0.6B parameters).

    Attributes:
      sample_rate_hz: rate of the audio.
      mel_hop_samples: samples between spectrogram frames; a token spans four (640 at 16 kHz).
      mel_window_samples: samples in a spectrogram window (25 ms).
      mel_fft_size: points of the FFT, at least the window.
      mel_bins: mel filters.
      mel_floor: smallest mel power before the logarithm, relative to full-scale samples of 1.
      subsample_channels: channels of the two subsampling convolutions.
      objective: what the encoder learns by. w2v_bert: contrastive and masked prediction, of codes
        that are learnt too. best_rq: masked prediction of random codes that never change.
      contrastive_layers: conformer blocks of the contrastive module; 0 with best_rq, which has
        none.
      masked_layers: conformer blocks of the masked-prediction module.
      codebook_size: codes of the quantiser whose ids masked prediction must guess (BEST-RQ: 8192).
      code_width: width of a code vector (BEST-RQ: 16).
      projection_seed: of best_rq's random quantiser.
      conformer: sizes of every block.
    """

    sample_rate_hz: int = 16000
    mel_hop_samples: int = 160
    mel_window_samples: int = 400
    mel_fft_size: int = 512
    mel_bins: int = 80
    mel_floor: float = 1e-6
    subsample_channels: int = 128
    objective: Literal["w2v_bert", "best_rq"] = "w2v_bert"
    contrastive_layers: int = 12
    masked_layers: int = 12
    codebook_size: int = 1024
    code_width: int = 1024
    projection_seed: int = 0
    conformer: ConformerConfig = dataclasses.field(default_factory=ConformerConfig)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("contrastive_layers", "projection_seed"):
                continue
            if isinstance(value, int | float) and value <= 0:
                raise InputError(f"model.{field.name} = {value}: expected a positive number")
        if not self.mel_hop_samples <= self.mel_window_samples <= self.mel_fft_size:
            raise InputError(
                f"model.mel_window_samples = {self.mel_window_samples}: expected between "
                f"mel_hop_samples = {self.mel_hop_samples} and mel_fft_size = {self.mel_fft_size}"
            )
        if (self.contrastive_layers == 0) != (self.objective == "best_rq") or (
            self.contrastive_layers < 0
        ):
            raise InputError(
                f"model.contrastive_layers = {self.contrastive_layers}: expected 0 with objective "
                f"= 'best_rq' and a positive number with 'w2v_bert'; here it is {self.objective!r}"
            )
        if self.projection_seed < 0:
            raise InputError(f"model.projection_seed = {self.projection_seed}: expected 0 or more")
        if self.codebook_size < 2:
            raise InputError(f"model.codebook_size = {self.codebook_size}: expected at least 2")

    @property
    def hop_samples(self) -> int:
        """Samples of one token."""
        return FRAMES_PER_TOKEN * self.mel_hop_samples

    @property
    def token_rate_hz(self) -> float:
        """Tokens per second."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def feature_width(self) -> int:
        """Dimensions of a feature vector, the same in every layer."""
        return self.conformer.width

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Outputs of all blocks, as `parse_layer` reads them."""
        modules = (("contrastive", self.contrastive_layers), ("masked", self.masked_layers))
        return tuple(f"{name}_{k}" for name, count in modules for k in range(1, count + 1))


class Quantized(NamedTuple):
    """What the quantiser makes of unmasked features.

    Attributes:
      ids: int32 [b, u], the most likely code, free of noise: targets of masked prediction.
      sampled_ids: int32 [b, u], the code of `vectors`; equals `ids` without noise.
      vectors: [b, u, code_width], the chosen code with a straight-through gradient.
      probabilities: [b, u, codebook_size], softmax of the logits without noise or temperature.
    """

    ids: Array
    sampled_ids: Array
    vectors: Array
    probabilities: Array


class Outputs(NamedTuple):
    """Everything that the losses read.

    Attributes:
      valid: bool [b, u], tokens that lie within their item.
      subsampled: [b, u, d], output of the subsampling, before its norm (for the feature penalty).
      ids: int32 [b, u], the codes that masked prediction must guess, from unmasked features.
      logits: [b, u, codebook_size], output of the masked-prediction module.
      quantized: targets of the contrastive task; None with best_rq.
      context: [b, u, code_width], projected output of the contrastive module; None with best_rq.
    """

    valid: Array
    subsampled: Array
    ids: Array
    logits: Array
    quantized: Quantized | None
    context: Array | None


def parse_layer(layer: str, config: W2vBertConfig) -> int:
    """Blocks that a named layer needs, those of the contrastive module first.

    Args:
      layer: "contrastive_k" or "masked_k", the output of the k-th block of that module, counted
        from 1. AudioLM's "layer 7 of the MLM module" is "masked_7" if it, too, counts from 1.
      config: the encoder.

    Raises:
      InputError: no such layer.
    """
    if layer not in config.layer_names:
        raise InputError(
            f"layer = {layer!r}: expected contrastive_1 .. contrastive_{config.contrastive_layers} "
            f"or masked_1 .. masked_{config.masked_layers}"
        )
    return config.layer_names.index(layer) + 1


class GumbelQuantizer(nnx.Module):
    """One codebook; codes are chosen by a linear layer, in training with Gumbel noise."""

    def __init__(self, config: W2vBertConfig, *, rngs: nnx.Rngs) -> None:
        width = config.conformer.width
        # Logits must begin much larger than Gumbel noise, which no temperature scales: else codes
        # are chance for thousands of steps, and there is nothing to learn.
        self.logits = nnx.Linear(
            width,
            config.codebook_size,
            kernel_init=annotate(draws.unit_normal, "embed", "codes"),
            bias_init=annotate(nnx.initializers.zeros_init(), "codes"),
            rngs=rngs,
        )
        init = annotate(draws.codebook_uniform, "codes", "embed")
        self.codebook = nnx.Param(init(rngs.params(), (config.codebook_size, config.code_width)))

    def __call__(
        self,
        features: Float[Array, "b u d"],
        valid: Bool[Array, "b u"],
        temperature: Float[Array, ""] | float,
        key: Key[Array, ""] | None,
    ) -> Quantized:
        """Quantises each frame; `key` switches the noise on.

        Each dimension is first brought to zero mean and unit variance over the item's valid
        frames. LayerNorm would leave a large part that all frames share, and with it most frames
        would get the same few codes from the first step on.
        """
        logits = self.logits(standardize_over_time(features, valid, FEATURE_VARIANCE_FLOOR))
        ids = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        noisy = logits if key is None else logits + draws.gumbel(key, logits.shape)
        sampled_ids = jnp.argmax(noisy, axis=-1).astype(jnp.int32)
        soft = jax.nn.softmax(noisy / temperature, axis=-1)
        hard = jax.nn.one_hot(sampled_ids, logits.shape[-1])
        chosen = hard + soft - jax.lax.stop_gradient(soft)
        vectors = jnp.einsum("buc,cd->bud", chosen, self.codebook[...])
        return Quantized(ids, sampled_ids, vectors, jax.nn.softmax(logits, axis=-1))


class W2vBert(nnx.Module):
    """The encoder with its quantiser and heads."""

    def __init__(self, config: W2vBertConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        conformer, width = config.conformer, config.conformer.width
        self.subsampling = ConvolutionalSubsampling(
            config.mel_bins, config.subsample_channels, width, rngs=rngs
        )
        self.feature_norm = layer_norm(width, rngs)
        contrastive = config.objective == "w2v_bert"
        self.quantizer = GumbelQuantizer(config, rngs=rngs) if contrastive else None
        # Both modules are one stack of equal blocks: it is scanned, and compiled, once.
        self.blocks = ConformerStack(
            conformer, config.contrastive_layers + config.masked_layers, rngs=rngs
        )
        self.context = (
            linear(width, config.code_width, ("embed", None), "float32", rngs)
            if contrastive
            else None
        )
        self.head = linear(width, config.codebook_size, ("embed", "codes"), "float32", rngs)

    def mel(
        self, audio: AudioBatch, warp: Float[Array, " b"] | None = None
    ) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
        """The log-mel spectrogram and the frames of each item.

        Each bin has zero mean and unit variance over the valid frames of the item: gain and channel
        drop out, and so does the need for corpus statistics. Frames beyond are 0. With `warp` the
        frequencies of each item are multiplied by a factor.
        """
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
        """Nothing to do: blocks of a size that a CPU trains are small."""

    def features(
        self, audio: AudioBatch, layer: str
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """Features of a named layer, running no block beyond it.

        Args:
          audio: any lengths; padding and batch mates change nothing.
          layer: as in `parse_layer`.

        Returns:
          float32 [b, ceil(s / hop), width], zero beyond each item, and the tokens of each item
          [b], ceil(length / hop).
        """
        count = parse_layer(layer, self.config)
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
    ) -> Outputs:
        """The tasks of the objective.

        Args:
          audio: any lengths.
          mask: true where a token is hidden from the blocks.
          mask_vectors: what they see there instead.
          temperature: of the quantiser's softmax.
          target_gradient_scale: share of the quantiser's gradient that reaches the subsampling.
          warp: factors of the frequencies that the blocks hear; the targets are of the voice as it
            is. None: both hear the same.
          gumbel_key: switches the quantiser's noise on.
          dropout_key: switches dropout on.
        """
        mel, frames = self.mel(audio)
        subsampled, lengths = self.subsampling(mel, frames)
        valid = valid_frames(lengths, subsampled.shape[1])
        if self.quantizer is None:
            quantized = None
            ids = random_projection_ids(mel, self.config)
        else:
            fixed = jax.lax.stop_gradient(subsampled)
            scaled = fixed + target_gradient_scale * (subsampled - fixed)
            quantized = self.quantizer(scaled, valid, temperature, gumbel_key)
            ids = quantized.ids
        heard = subsampled if warp is None else self.subsampling(*self.mel(audio, warp))[0]
        x = jnp.where(mask[:, :, None], mask_vectors, self.feature_norm(heard))
        x = constrain(x, "batch", "length", None)
        x, tapped = self.blocks(x, valid, dropout_key, tap=self.config.contrastive_layers or None)
        context = self.context and self.context(tapped)
        return Outputs(valid, subsampled, ids, self.head(x), quantized, context)
