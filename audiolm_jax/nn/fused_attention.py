"""Causal attention by a kernel of NVIDIA's cuDNN, which keeps scores on the chip, through JAX.

cuDNN takes a bias for every pair of positions, so that of T5 is written out in bfloat16: heads x
l x l numbers, and as many for its gradient, shared by all layers.
"""

from typing import Literal

import jax
from jaxtyping import Array, Float

from audiolm_jax.nn.position import causal_bias


def fused_causal_attention(
    query: Float[Array, "b l h k"],
    key: Float[Array, "b l h k"],
    value: Float[Array, "b l h k"],
    distance_bias: Float[Array, "h n"] | None,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "b l h k"]:
    """`attention.causal_attention` of bfloat16 arrays by `jax.nn.dot_product_attention`.

    The length is even, the width of a head a multiple of 8 up to 128. "xla" computes the same in
    plain JAX with all scores at once, on any device and of float32 too: what tests compare.
    """
    bias = None
    if distance_bias is not None:
        # Less the bias of the far distance, which softmax does not see: small numbers round less.
        near = distance_bias - distance_bias[:, -1:]
        bias = causal_bias(near, query.shape[1]).astype(query.dtype)[None]
    return jax.nn.dot_product_attention(
        query, key, value, bias, scale=1.0, is_causal=True, implementation=implementation
    )
