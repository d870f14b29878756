"""Root-mean-square normalization with named axes."""

import jax.numpy as jnp
from flax import nnx

from audiolm_jax.nn.partition import annotate


def rms_norm(width: int, axis: str, dtype: str, *, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """Normalization over the last dimension, of logical name `axis`, with a learned scale."""
    return nnx.RMSNorm(
        width,
        epsilon=1e-6,
        dtype=jnp.dtype(dtype),
        scale_init=annotate(nnx.initializers.ones_init(), axis),
        rngs=rngs,
    )
