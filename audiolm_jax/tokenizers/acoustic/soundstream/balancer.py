"""Losses balanced by their gradients (Paper: EnCodec section 3.4).

The gradient of a loss with respect to the reconstruction is divided by a moving average of its
norm, so a weight says which share of the whole its loss gets, whatever its scale. The commitment
loss knows no reconstruction and stays outside.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class BalancerConfig:
    """The balancer.

    Attributes:
      decay: of the moving averages of gradient norms, per step (EnCodec: 0.999).
      total_norm: R, norm of the balanced gradient over the whole batch if all losses pull one way
        (EnCodec: 1).
    """

    decay: float = 0.999
    total_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"balancer.decay = {self.decay}: expected 0 to below 1")
        if not self.total_norm > 0:
            raise InputError(f"balancer.total_norm = {self.total_norm}: expected more than 0")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NormAverages:
    """Moving averages `sums / counts` of the gradient norms of n losses, free of their start at 0.

    Attributes:
      sums: float32 [n], decayed sum of the norms.
      counts: float32 [n], decayed number of them.
    """

    sums: Array
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

    A loss without gradient (discriminators that have not started, a batch of silence) adds nothing
    and leaves its average alone; the shares of the others do not change with it.

    Args:
      gradients: of each unweighted loss with respect to the reconstruction of the whole batch.
      weights: of each loss; their sum must be positive.
      averages: of the step before.
      config: decay and R.

    Returns:
      The balanced gradient; the averages after this step; the L2 norm of each gradient, over the
      whole batch.
    """
    norms = jnp.stack([jnp.sqrt(jnp.sum(g**2)) for g in gradients])
    present = norms > 0
    averages = NormAverages(
        jnp.where(present, config.decay * averages.sums + norms, averages.sums),
        jnp.where(present, config.decay * averages.counts + 1, averages.counts),
    )
    shares = jnp.asarray(weights, jnp.float32) / sum(weights)
    # Where nothing was ever counted the gradient is zero, and any finite scale will do.
    scales = (
        config.total_norm
        * shares
        * averages.counts
        / jnp.where(averages.sums > 0, averages.sums, 1.0)
    )
    return sum(s * g for s, g in zip(scales, gradients, strict=True)), averages, norms
