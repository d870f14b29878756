"""What encoders share: convolution, attention, stacked blocks, and frames into tokens."""

import abc
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.stack import unstack
from audiolm_jax.types import AudioBatch

Block = TypeVar("Block", bound=nnx.Module)


def layer_norm(width: int, epsilon: float, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Normalizes over channels; the variance is that of the deviations, not a difference."""
    return nnx.LayerNorm(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


def depthwise(
    x: Float[Array, "b t d"], kernel: Float[Array, "k d"], before: int
) -> Float[Array, "b t d"]:
    """A filter of its own for every channel, over the frame, `before` ahead of it, and the rest.

    Sums are float32, over taps and in the gradients; the result is of x's dtype.
    """
    taps, frames = kernel.shape[0], x.shape[1]
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), (before, taps - 1 - before), (0, 0)))
    # A few shifted products: grouped convolutions are slow on every backend at this size.
    first, *others = (padded[:, i : i + frames] * kernel[i][None, None] for i in range(taps))
    return sum(others, first).astype(x.dtype)


class SelfAttention(nnx.Module):
    """Multi-head attention over the valid frames."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nnx.Linear(width, width, rngs=rngs) for _ in range(4)
        )

    def __call__(
        self,
        x: Float[Array, "b t d"],
        valid: Bool[Array, "b t"],
        bias: Callable[[Float[Array, "b h t k"]], Float[Array, "b h t u"]] | None = None,
    ) -> Float[Array, "b t d"]:
        """`bias` makes what is added to the scores from the queries, already scaled."""
        shape = (*x.shape[:2], self.heads, x.shape[2] // self.heads)
        # Heads before frames, so that every product is one of matrices that lie as it reads them.
        query_BxHxTxK, key_BxHxTxK, value_BxHxTxK = (
            f(x).reshape(shape).transpose(0, 2, 1, 3) for f in (self.query, self.key, self.value)
        )
        query_BxHxTxK = query_BxHxTxK * shape[-1] ** -0.5
        scores_BxHxTxU = jnp.einsum("bhtk,bhuk->bhtu", query_BxHxTxK, key_BxHxTxK)
        if bias is not None:
            scores_BxHxTxU = scores_BxHxTxU + bias(query_BxHxTxK)
        # A finite bar: an item without any frame must not become NaN.
        scores_BxHxTxU = jnp.where(valid[:, None, None, :], scores_BxHxTxU, -1e30)
        weights_BxHxTxU = jax.nn.softmax(scores_BxHxTxU, axis=-1)
        mixed_BxHxTxK = jnp.einsum("bhtu,bhuk->bhtk", weights_BxHxTxU, value_BxHxTxK)
        return self.out(mixed_BxHxTxK.transpose(0, 2, 1, 3).reshape(x.shape))


class FeedForward(nnx.Module):
    """Expansion, activation, contraction."""

    def __init__(
        self, width: int, hidden: int, activation: Callable[[Array], Array], *, rngs: nnx.Rngs
    ) -> None:
        self.up = nnx.Linear(width, hidden, rngs=rngs)
        self.down = nnx.Linear(hidden, width, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        """Keeps the shape."""
        return self.down(self.activation(self.up(x)))


def run_blocks(
    apply: Callable[[Block, Array], Array], blocks: Block | nnx.List, x: Array, count: int
) -> tuple[Array, Array]:
    """Output of the first `count` blocks, stacked or a list, and of each of them [count, ...]."""
    if isinstance(blocks, nnx.List):
        every = [x]
        for block in blocks[:count]:
            every.append(apply(block, every[-1]))
        return every[-1], jnp.stack(every)[1:]

    def body(x: Array, block: Block) -> tuple[Array, Array]:
        x = apply(block, x)
        return x, x

    return jax.lax.scan(body, x, jax.tree.map(lambda leaf: leaf[:count], blocks))


def fill_to_frame(lengths: Int[Array, " b"], reach: int) -> Int[Array, " b"]:
    """Samples of each item, with the zeros behind it that a first frame needs; 0 stays 0."""
    return jnp.where(lengths > 0, jnp.maximum(lengths, reach), 0)


def pool_to_tokens(
    x: Float[Array, "b t d"],
    frames: Int[Array, " b"],
    samples: Int[Array, " b"],
    tokens: int,
    hop_samples: int,
    frames_per_token: int,
) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
    """Mean of the frames of each token, zero beyond each item, and the tokens of each item.

    A recording has ceil(samples / hop) tokens; its last frame is repeated if it is short of frames.
    """
    last_Bx1 = jnp.maximum(frames - 1, 0)[:, None]
    place_BxT = jnp.minimum(jnp.arange(tokens * frames_per_token)[None, :], last_Bx1)
    filled_BxTxD = jnp.take_along_axis(x, place_BxT[:, :, None], axis=1)
    shape = (x.shape[0], tokens, frames_per_token, x.shape[2])
    pooled_BxUxD = filled_BxTxD.reshape(shape).mean(axis=2)
    lengths = -(-samples // hop_samples)
    return jnp.where(valid_frames(lengths, tokens)[:, :, None], pooled_BxUxD, 0), lengths


class StackedEncoder(nnx.Module):
    """A front end, stacked blocks of one kind, and frames into tokens."""

    config: Any  # a `StackedEncoderConfig`
    blocks: Any  # stacked, called with frames and validity

    @abc.abstractmethod
    def embed(
        self, audio: AudioBatch
    ) -> tuple[Float[Array, "b t d"], Bool[Array, "b t"], Int[Array, " b"]]:
        """Input of the first block, which frames are valid, and how many."""

    def for_inference(self) -> None:
        """Takes the blocks apart on a CPU, where slicing a stack costs a sixth of the time."""
        if jax.default_backend() == "cpu":
            self.blocks = nnx.List(unstack(self.blocks))

    def finish(self, x: Float[Array, "b t d"], layer: str) -> Float[Array, "b t d"]:
        """What a named layer still does to the output of the last block that it needs."""
        return x

    def hidden_states(
        self, audio: AudioBatch, count: int
    ) -> tuple[Float[Array, "n b t d"], Int[Array, " b"]]:
        """Input of the first block and outputs of the first `count`, unpooled; frames."""
        x, valid, frames = self.embed(audio)
        _, every = run_blocks(lambda block, x: block(x, valid), self.blocks, x, count)
        return jnp.concatenate([x[None], every]), frames

    def features(
        self, audio: AudioBatch, layer: str
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """As `EncoderModule.features`."""
        config = self.config
        x, valid, frames = self.embed(audio)
        count = min(config.layer_names.index(layer), config.layers)
        x, _ = run_blocks(lambda block, x: block(x, valid), self.blocks, x, count)
        hop, lengths = config.hop_samples, jnp.asarray(audio.lengths)
        sizes = (-(-audio.samples.shape[1] // hop), hop, config.frames_per_token)
        return pool_to_tokens(self.finish(x, layer), frames, lengths, *sizes)
