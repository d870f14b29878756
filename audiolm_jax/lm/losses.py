"""Losses of next-token prediction, per token and per row of `StageConfig.level_names`."""

from typing import NamedTuple

import jax
from jax import numpy as jnp
from jaxtyping import Array, Float, Int


class TokenLosses(NamedTuple):
    """Float32 [b, l] each, not yet weighted.

    Attributes:
      cross_entropy: nats, under a softmax over the whole vocabulary.
      z_loss: squared log of the softmax normaliser, not yet scaled.
      correct: 1 where the likeliest id is the target.
    """

    cross_entropy: Array
    z_loss: Array
    correct: Array


def token_losses(logits: Float[Array, "b l v"], targets: Int[Array, "b l"]) -> TokenLosses:
    """Losses of every position, in float32 whatever the dtype of the logits.

    Args:
      logits: one row per position.
      targets: ids in [0, v).
    """
    logits = logits.astype(jnp.float32)
    log_normaliser = jax.nn.logsumexp(logits, axis=-1)
    target_logits = jnp.take_along_axis(logits, targets[:, :, None], axis=-1)[:, :, 0]
    correct = jnp.argmax(logits, axis=-1) == targets
    return TokenLosses(
        log_normaliser - target_logits,
        jnp.square(log_normaliser),
        correct.astype(jnp.float32),
    )


def weighted_mean(values: Float[Array, "b l"], weights: Float[Array, "b l"]) -> Float[Array, ""]:
    """Mean over the whole batch of the values that have weight; 0 if none has.

    What stands where the weight is 0 has no effect, NaN included.
    """
    total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
    return total / jnp.maximum(jnp.sum(weights), 1.0)


def sums_per_level(
    values: Float[Array, "b l"],
    weights: Float[Array, "b l"],
    levels: Int[Array, "b l"],
    rows: int,
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """Weighted sums of `values`, and of the weights, over each of `rows` levels.

    Args:
      values: per token.
      weights: per token; 0 takes the token out, whatever its value and level.
      levels: row of each token, in [0, rows).
      rows: m.
    """
    weighted = jnp.where(weights > 0, values * weights, 0.0)
    member = (levels[None] == jnp.arange(rows)[:, None, None]).astype(jnp.float32)
    return (
        jnp.sum(member * weighted[None], axis=(1, 2)),
        jnp.sum(member * weights[None], axis=(1, 2)),
    )
