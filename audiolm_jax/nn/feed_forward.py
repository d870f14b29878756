"""The position-wise network of a decoder layer."""

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Float

from audiolm_jax.nn.partition import annotate, constrain


class GatedFeedForward(nnx.Module):
    """Gated GELU without biases: (gelu(x G) * (x U)) D, as in t5x."""

    def __init__(self, width: int, hidden: int, dtype: str, *, rngs: nnx.Rngs):
        init = nnx.initializers.lecun_normal()
        self.up = nnx.LinearGeneral(
            width,
            (2, hidden),
            use_bias=False,
            dtype=jnp.dtype(dtype),
            kernel_init=annotate(init, "embed", None, "mlp"),
            rngs=rngs,
        )
        self.down = nnx.Linear(
            hidden,
            width,
            use_bias=False,
            dtype=jnp.dtype(dtype),
            kernel_init=annotate(init, "mlp", "embed"),
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        """Same shape and dtype out as in."""
        both = constrain(self.up(x), "batch", "length", None, "mlp")
        return self.down(jax.nn.gelu(both[:, :, 0], approximate=True) * both[:, :, 1])
