"""Losses balanced by their gradients (Paper: EnCodec section 3.4).

The gradient of a loss with respect to the reconstruction is divided by a moving average of its
norm, so a weight is a share of the whole. The commitment loss has no such gradient: it stays out.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from audiolm_jax.tokenizers.acoustic.soundstream.config import BalancerConfig


class NormAverages(NamedTuple):
    """Moving averages `sums / counts` of gradient norms of n losses, free of their zero start."""

    sums: Array  # decayed like the counts, float32 [n]
    counts: Array


def empty_averages(losses: int) -> NormAverages:
    """Before the first step."""
    return NormAverages(jnp.zeros(losses), jnp.zeros(losses))


def balance(
    gradients: Sequence[Float[Array, "b s"]],
    weights: Sequence[float],
    averages: NormAverages,
    config: BalancerConfig,
) -> tuple[Float[Array, "b s"], NormAverages, Float[Array, " n"]]:
    """Sum over the losses of R * (weight / sum of weights) * gradient / average of its norm.

    The gradients are those of unweighted losses; a loss without one adds nothing and leaves its
    average and the other shares alone. Returns also the averages after this step and the L2 norms.
    """
    norms = jnp.stack([jnp.sqrt(jnp.sum(g**2)) for g in gradients])
    present = norms > 0
    averages = NormAverages(
        jnp.where(present, config.decay * averages.sums + norms, averages.sums),
        jnp.where(present, config.decay * averages.counts + 1, averages.counts),
    )
    shares = jnp.asarray(weights, jnp.float32) / sum(weights)
    # Where nothing was ever counted the gradient is zero, and any finite scale will do.
    sums = jnp.where(averages.sums > 0, averages.sums, 1.0)
    scales = config.total_norm * shares * averages.counts / sums
    balanced = [s * g for s, g in zip(scales, gradients, strict=True)]
    return functools.reduce(jnp.add, balanced), averages, norms
