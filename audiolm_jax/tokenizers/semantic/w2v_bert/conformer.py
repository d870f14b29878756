"""Conformer blocks that padding cannot reach, and stacks of them scanned over depth.

Unlike the paper (arXiv:2108.06209), the convolution module normalizes with LayerNorm instead of
BatchNorm, so that neither batch mates nor padding enter a result; and positions are relative by
rotating queries and keys (RoPE), which has no parameters and no longest length.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from audiolm_jax.nn.dropout import dropout
from audiolm_jax.nn.linear import sum_float32
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.nn.stack import init_stack
from audiolm_jax.tokenizers.semantic.transformer import depthwise
from audiolm_jax.tokenizers.semantic.w2v_bert import draws
from audiolm_jax.tokenizers.semantic.w2v_bert.config import ConformerConfig

ROPE_BASE = 10_000.0


def rotate_positions(x: Float[Array, "b u h k"]) -> Float[Array, "b u h k"]:
    """Turns channel pairs of each head by an angle that grows with the frame's position."""
    half = x.shape[-1] // 2
    inverse_wavelength = ROPE_BASE ** (-np.arange(half) / half)
    angle = np.arange(x.shape[1])[:, None] * inverse_wavelength[None, :]
    cos, sin = (jnp.asarray(f(angle), jnp.float32)[None, :, None, :] for f in (np.cos, np.sin))
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def layer_norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm whose parameters carry a logical name."""
    scale = annotate(nnx.initializers.ones_init(), "embed")
    bias = annotate(nnx.initializers.zeros_init(), "embed")
    return nnx.LayerNorm(width, scale_init=scale, bias_init=bias, rngs=rngs)


class Linear(nnx.Module):
    """Multiplies in `dtype`, adds the bias in float32: its gradient is a sum over all frames."""

    def __init__(
        self, d_in: int, d_out: int, names: tuple[str | None, ...], dtype: str, *, rngs: nnx.Rngs
    ) -> None:
        kernel = annotate(draws.glorot_uniform, *names)
        bias = annotate(nnx.initializers.zeros_init(), names[1])
        self.kernel = nnx.Param(kernel(rngs.params(), (d_in, d_out)))
        self.bias = nnx.Param(bias(rngs.params(), (d_out,)))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b u i"]) -> Float[Array, "b u o"]:
        """The result is of `dtype` too."""
        product = jnp.matmul(x.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return (product.astype(jnp.float32) + self.bias[...][None, None]).astype(self.dtype)


class FeedForward(nnx.Module):
    """LayerNorm, expansion, swish, contraction."""

    def __init__(self, config: ConformerConfig, *, rngs: nnx.Rngs) -> None:
        dtype = config.compute_dtype
        self.norm = layer_norm(config.width, rngs)
        self.up = Linear(config.width, config.ff_width, ("embed", "mlp"), dtype, rngs=rngs)
        self.down = Linear(config.ff_width, config.width, ("mlp", "embed"), dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b u d"]) -> Float[Array, "b u d"]:
        """What is added to the residual stream."""
        hidden = constrain(jax.nn.silu(self.up(self.norm(x))), "batch", "length", "mlp")
        return self.down(hidden)


class SelfAttention(nnx.Module):
    """Multi-head attention over all valid frames, with rotary relative positions."""

    def __init__(self, config: ConformerConfig, *, rngs: nnx.Rngs) -> None:
        heads, dtype = (config.heads, config.width // config.heads), jnp.dtype(config.compute_dtype)
        self.norm = layer_norm(config.width, rngs)
        general = functools.partial(nnx.LinearGeneral, use_bias=False, dtype=dtype, rngs=rngs)
        qkv_init = annotate(draws.glorot_uniform, "embed", None, "heads", "kv")
        out_init = annotate(draws.glorot_uniform, "heads", "kv", "embed")
        self.qkv = general(config.width, (3, *heads), kernel_init=qkv_init)
        self.out = general(heads, config.width, axis=(-2, -1), kernel_init=out_init)

    def __call__(self, x: Float[Array, "b u d"], valid: Bool[Array, "b u"]) -> Array:
        """Attends from every frame to the valid frames of its item."""
        qkv = self.qkv(self.norm(x))  # [b, u, 3, h, k]
        query, key = rotate_positions(qkv[:, :, 0]), rotate_positions(qkv[:, :, 1])
        scores_BxHxUxV = sum_float32("buhk,bvhk->bhuv", query, key)
        scores_BxHxUxV = scores_BxHxUxV * query.shape[-1] ** -0.5
        # A finite bar: an item without any frame must not become NaN.
        scores_BxHxUxV = jnp.where(valid[:, None, None, :], scores_BxHxUxV, -1e30)
        weights_BxHxUxV = jax.nn.softmax(scores_BxHxUxV, axis=-1).astype(qkv.dtype)
        mixed_BxUxHxK = jnp.einsum("bhuv,bvhk->buhk", weights_BxHxUxV, qkv[:, :, 2])
        return self.out(constrain(mixed_BxUxHxK, "batch", "length", "heads", "kv"))


class ConvolutionModule(nnx.Module):
    """LayerNorm, gated pointwise, depthwise over time, LayerNorm, swish, pointwise."""

    def __init__(self, config: ConformerConfig, *, rngs: nnx.Rngs) -> None:
        width, dtype = config.width, config.compute_dtype
        self.norm = layer_norm(width, rngs)
        self.gate = Linear(width, 2 * width, ("embed", "mlp"), dtype, rngs=rngs)
        init = annotate(draws.depthwise_uniform, None, "mlp")
        self.depthwise = nnx.Param(init(rngs.params(), (config.conv_kernel, width)))
        self.inner_norm = layer_norm(width, rngs)
        self.out = Linear(width, width, ("mlp", "embed"), dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b u d"], valid: Bool[Array, "b u"]) -> Array:
        """Mixes neighboring frames; frames that are not valid count as zero."""
        value, gate = jnp.split(self.gate(self.norm(x)), 2, axis=-1)
        hidden = jnp.where(valid[:, :, None], value * jax.nn.sigmoid(gate), 0)
        kernel = self.depthwise[...]
        hidden = depthwise(hidden, kernel, len(kernel) // 2)
        hidden = constrain(hidden, "batch", "length", "mlp")
        return self.out(jax.nn.silu(self.inner_norm(hidden)))


class ConformerBlock(nnx.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm."""

    def __init__(self, config: ConformerConfig, *, rngs: nnx.Rngs) -> None:
        self.rate = config.dropout
        self.first = FeedForward(config, rngs=rngs)
        self.attention = SelfAttention(config, rngs=rngs)
        self.convolution = ConvolutionModule(config, rngs=rngs)
        self.second = FeedForward(config, rngs=rngs)
        self.norm = layer_norm(config.width, rngs)

    def __call__(
        self, x: Float[Array, "b u d"], valid: Bool[Array, "b u"], key: Key[Array, ""] | None
    ) -> Float[Array, "b u d"]:
        """One block; `key` switches dropout on."""
        keys = (None,) * 4 if key is None else jax.random.split(key, 4)
        x = constrain(x, "batch", "length", None)
        x = x + 0.5 * dropout(self.first(x), self.rate, keys[0])
        x = x + dropout(self.attention(x, valid), self.rate, keys[1])
        x = x + dropout(self.convolution(x, valid), self.rate, keys[2])
        x = x + 0.5 * dropout(self.second(x), self.rate, keys[3])
        return constrain(self.norm(x), "batch", "length", None)


class ConformerStack(nnx.Module):
    """Equal blocks, stored stacked along a first axis "layers" and scanned."""

    def __init__(self, config: ConformerConfig, layers: int, *, rngs: nnx.Rngs) -> None:
        self.layers, self.remat = layers, config.remat
        self.stacked = init_stack(
            lambda key: ConformerBlock(config, rngs=nnx.Rngs(params=key)), rngs.params(), layers
        )

    def __call__(
        self,
        x: Float[Array, "b u d"],
        valid: Bool[Array, "b u"],
        key: Key[Array, ""] | None = None,
        *,
        count: int | None = None,
        tap: int | None = None,
    ) -> tuple[Float[Array, "b u d"], Float[Array, "b u d"]]:
        """Outputs of the last of the first `count` blocks (default all), and of the `tap`-th.

        `tap` is 1 to `count`, by default `count`; `key` switches dropout on.
        """
        count = self.layers if count is None else count
        stacked = jax.tree.map(lambda leaf: leaf[:count], self.stacked)
        keys = None if key is None else jax.random.split(key, count)

        def run(x: Array, block: ConformerBlock, block_key: Array | None) -> Array:
            return block(x, valid, block_key)

        if self.remat != "none":
            dots = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
            run = jax.checkpoint(run, policy=dots if self.remat == "dots" else None)

        def body(carry: tuple[Array, Array], layer: tuple) -> tuple[tuple[Array, Array], None]:
            x, tapped = carry
            block, block_key, number = layer
            x = run(x, block, block_key)
            # Carried on, not put out by every block, which would hold an array for each.
            return (x, jnp.where(number == (tap or count), x, tapped)), None

        layers = (stacked, keys, jnp.arange(1, count + 1))
        (x, tapped), _ = jax.lax.scan(body, (x, x), layers)
        return x, tapped
