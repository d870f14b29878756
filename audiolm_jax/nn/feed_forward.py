"""What a decoder layer does at each position by itself: normalization and feed-forward."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from audiolm_jax.nn.linear import Linear
from audiolm_jax.nn.partition import annotate, constrain


def rms_norm(width: int, axis: str, dtype: str, *, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """RMS normalization over the last dimension, of logical name `axis`, with a learned scale."""
    init = annotate(nnx.initializers.ones_init(), axis)
    return nnx.RMSNorm(width, epsilon=1e-6, dtype=jnp.dtype(dtype), scale_init=init, rngs=rngs)


class GatedFeedForward(nnx.Module):
    """Gated GELU without biases: (gelu(x G) * (x U)) D, as in t5x."""

    def __init__(self, width: int, hidden: int, dtype: str, *, rngs: nnx.Rngs):
        self.gate = Linear((width,), (hidden,), ("embed", "mlp"), dtype, rngs=rngs)
        self.up = Linear((width,), (hidden,), ("embed", "mlp"), dtype, rngs=rngs)
        self.down = Linear((hidden,), (width,), ("mlp", "embed"), dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        """Same shape and dtype out as in."""
        gate = checkpoint_name(constrain(self.gate(x), "batch", "length", "mlp"), "gate")
        up = checkpoint_name(constrain(self.up(x), "batch", "length", "mlp"), "up")
        return self.down(gated_gelu(gate, up))


@jax.custom_vjp
def gated_gelu(gate: Float[Array, "*dims"], up: Float[Array, "*dims"]) -> Float[Array, "*dims"]:
    """gelu(gate) * up with the tanh approximation; its gradient keeps the two arguments only."""
    return jax.nn.gelu(gate, approximate=True) * up


def _forward(gate: Array, up: Array) -> tuple[Array, tuple[Array, Array]]:
    return gated_gelu(gate, up), (gate, up)


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    gate, up, gradient = (x.astype(jnp.float32) for x in (*kept, gradient))
    slope = (2 / jnp.pi) ** 0.5
    tanh = jnp.tanh(slope * (gate + 0.044715 * gate**3))
    half = 0.5 * (1 + tanh)
    of_gelu = half + 0.5 * gate * (1 - tanh**2) * slope * (1 + 3 * 0.044715 * gate**2)
    dtype = kept[0].dtype
    return (gradient * up * of_gelu).astype(dtype), (gradient * gate * half).astype(dtype)


gated_gelu.defvjp(_forward, _backward)
