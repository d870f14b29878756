"""The encoder of w2v-BERT 2.0: mel frames in pairs at 50 Hz, then causal-convolution conformers.

Convolutions look back only; attention looks everywhere and adds a learned vector for each distance
between frames up to a largest (Shaw et al. 2018).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.nn.padding import standardize_over_time, valid_frames
from audiolm_jax.nn.stack import init_stack
from audiolm_jax.tokenizers.semantic.transformer import (
    FeedForward,
    SelfAttention,
    StackedEncoder,
    depthwise,
    fill_to_frame,
    layer_norm,
)
from audiolm_jax.tokenizers.semantic.w2v_bert2.config import W2vBert2Config
from audiolm_jax.tokenizers.semantic.w2v_bert2.mel import log_mel_frames
from audiolm_jax.types import AudioBatch

MEL_VARIANCE_FLOOR = 1e-7


def spread_distances(
    scores: Float[Array, "b h t p"], left: int, right: int
) -> Float[Array, "b h t u"]:
    """Scores of frame pairs (i, j) from those of distances j - i, clipped to -left .. right."""
    frames = scores.shape[2]
    # All distances from 1 - t to t, so that each row, moved on by its number, is a row of pairs.
    scores = scores[..., max(left + 1 - frames, 0) : left + 1 + min(frames, right)]
    before, after = max(frames - 1 - left, 0), max(frames - right, 0)
    wide = jnp.pad(scores, ((0, 0), (0, 0), (0, 0), (before, after)), mode="edge")
    flat = wide.reshape(*scores.shape[:2], 2 * frames * frames)
    flat = flat[..., frames - 1 : frames - 1 + frames * (2 * frames - 1)]
    return flat.reshape(*scores.shape[:2], frames, 2 * frames - 1)[..., :frames]


def pick_distances(
    scores: Float[Array, "b h t p"], left: int, right: int
) -> Float[Array, "b h t u"]:
    """As `spread_distances`, by looking up each pair's distance."""
    frames = np.arange(scores.shape[2])
    distance = np.clip(frames[None, :] - frames[:, None], -left, right)
    return jnp.take_along_axis(scores, jnp.asarray(distance + left)[None, None], axis=-1)


class CausalConvolution(nnx.Module):
    """Norm, gated pointwise, depthwise over earlier frames only, norm, swish, pointwise."""

    def __init__(self, config: W2vBert2Config, *, rngs: nnx.Rngs) -> None:
        width = config.width
        self.norm = layer_norm(width, config.norm_epsilon, rngs)
        self.gate = nnx.Linear(width, 2 * width, use_bias=False, rngs=rngs)
        self.depthwise = Depthwise(config.conv_kernel, width)
        self.inner_norm = layer_norm(width, config.norm_epsilon, rngs)
        self.out = nnx.Linear(width, width, use_bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Keeps the shape."""
        value, gate = jnp.split(self.gate(self.norm(x)), 2, axis=-1)
        hidden = self.depthwise(value * jax.nn.sigmoid(gate))
        return self.out(jax.nn.silu(self.inner_norm(hidden)))


class Depthwise(nnx.Module):
    """A filter of its own for every channel, over the frame and those before it."""

    def __init__(self, taps: int, width: int) -> None:
        self.kernel = nnx.Param(jnp.zeros((taps, width)))

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Keeps the shape."""
        kernel = self.kernel[...]
        return depthwise(x, kernel, len(kernel) - 1)


class ConformerBlock(nnx.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: W2vBert2Config, *, rngs: nnx.Rngs) -> None:
        width, epsilon = config.width, config.norm_epsilon
        self.left, self.right = config.left_positions, config.right_positions
        self.first_norm = layer_norm(width, epsilon, rngs)
        self.first = FeedForward(width, config.ff_width, jax.nn.silu, rngs=rngs)
        self.attention_norm = layer_norm(width, epsilon, rngs)
        self.attention = SelfAttention(width, config.heads, rngs=rngs)
        self.distances = nnx.Embed(self.left + self.right + 1, width // config.heads, rngs=rngs)
        self.convolution = CausalConvolution(config, rngs=rngs)
        self.second_norm = layer_norm(width, epsilon, rngs)
        self.second = FeedForward(width, config.ff_width, jax.nn.silu, rngs=rngs)
        self.norm = layer_norm(width, epsilon, rngs)

    def __call__(self, x: Float[Array, "b t d"], valid: Bool[Array, "b t"]) -> Array:
        """Frames that are not valid reach no other."""
        x = x + 0.5 * self.first(self.first_norm(x))
        x = x + self.attention(self.attention_norm(x), valid, self._distance_scores)
        x = x + self.convolution(x)
        x = x + 0.5 * self.second(self.second_norm(x))
        return self.norm(x)

    def _distance_scores(self, query: Float[Array, "b h t k"]) -> Float[Array, "b h t u"]:
        scores = jnp.einsum("bhtk,pk->bhtp", query, self.distances.embedding[...])
        # Picking single numbers is slow on a TPU; on a CPU it is seven times faster than moving.
        pick = functools.partial(pick_distances, left=self.left, right=self.right)
        spread = functools.partial(spread_distances, left=self.left, right=self.right)
        return jax.lax.platform_dependent(scores, cpu=pick, default=spread)


class W2vBert2(StackedEncoder):
    """Samples to features."""

    def __init__(self, config: W2vBert2Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        bins = config.mel_bins * config.stacked_frames
        self.input_norm = layer_norm(bins, config.norm_epsilon, rngs)
        self.input = nnx.Linear(bins, config.width, rngs=rngs)
        make_block = lambda key: ConformerBlock(config, rngs=nnx.Rngs(params=key))  # noqa: E731
        self.blocks = init_stack(make_block, rngs.params(), config.layers)

    def mel_pairs(self, audio: AudioBatch) -> tuple[Float[Array, "b t m"], Int[Array, " b"]]:
        """Standardized log-mel frames side by side; a last one without partner is left out."""
        config, lengths = self.config, jnp.asarray(audio.lengths)
        samples = zero_beyond(jnp.asarray(audio.samples), lengths)
        samples = jnp.pad(samples, ((0, 0), (0, max(config.reach_samples - samples.shape[1], 0))))
        lengths = fill_to_frame(lengths, config.reach_samples)
        mel, frames = log_mel_frames(samples, lengths, config.mel_bins)
        own, n = valid_frames(frames, mel.shape[1]), config.stacked_frames
        mel = standardize_over_time(mel, own, MEL_VARIANCE_FLOOR, ddof=1)
        pairs = mel[:, : mel.shape[1] // n * n].reshape(mel.shape[0], -1, n * config.mel_bins)
        return pairs, frames // n

    def embed(
        self, audio: AudioBatch
    ) -> tuple[Float[Array, "b t d"], Bool[Array, "b t"], Int[Array, " b"]]:
        """As `StackedEncoder.embed`."""
        pairs, frames = self.mel_pairs(audio)
        valid = valid_frames(frames, pairs.shape[1])
        x = jnp.where(valid[:, :, None], self.input(self.input_norm(pairs)), 0)
        return x, valid, frames
