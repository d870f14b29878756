"""Losses of next-token prediction, per token and per row of `StageConfig.level_names`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from audiolm_jax.types import Array


class TokenLosses(NamedTuple):
    """Float32 [b, l] each, not yet weighted."""

    cross_entropy: jax.Array  # nats, under a softmax over all logits
    z_loss: jax.Array  # squared log of the softmax normalizer, not yet scaled
    correct: jax.Array  # 1 where no id is likelier than the target


def token_losses(logits: Float[jax.Array, "b l v"], targets: Int[Array, "b l"]) -> TokenLosses:
    """Losses of every position, in float32 whatever the dtype of the logits."""
    log_normalizer, target_logits, largest = _summarize(logits, targets)
    return TokenLosses(
        log_normalizer - target_logits,
        jnp.square(log_normalizer),
        (target_logits >= largest).astype(jnp.float32),
    )


@jax.custom_vjp
def _summarize(logits: jax.Array, targets: Array) -> tuple[jax.Array, ...]:
    """Log of the softmax normalizer, logit of the target and largest logit, each [b, l].

    The gradient keeps only the logits, and is elementwise: no scatter.
    """
    logits = logits.astype(jnp.float32)
    largest = jnp.max(logits, axis=-1)
    exponentials = jnp.exp(logits - largest[:, :, None])
    target = jnp.sum(jnp.where(_is_target(logits, targets), logits, 0.0), axis=-1)
    return jnp.log(jnp.sum(exponentials, axis=-1)) + largest, target, largest


def _forward(logits: jax.Array, targets: Array) -> tuple[tuple[jax.Array, ...], tuple[Any, ...]]:
    summary = _summarize(logits, targets)
    return summary, (logits, targets, summary[0])


def _backward(
    residuals: tuple[Any, ...], gradients: tuple[jax.Array, ...]
) -> tuple[jax.Array, None]:
    logits, targets, log_normalizer = residuals
    d_normalizer, d_target, _ = (gradient[:, :, None] for gradient in gradients)
    shares = jnp.exp(logits.astype(jnp.float32) - log_normalizer[:, :, None])
    d_logits = shares * d_normalizer + jnp.where(_is_target(logits, targets), d_target, 0.0)
    return d_logits.astype(logits.dtype), None


_summarize.defvjp(_forward, _backward)


def _is_target(logits: jax.Array, targets: Array) -> Bool[jax.Array, "b l v"]:
    return jnp.arange(logits.shape[-1])[None, None] == targets[:, :, None]


def weighted_sum(values: Float[Array, "b l"], weights: Float[Array, "b l"]) -> Float[jax.Array, ""]:
    """Sum of values times weights over the batch; a value of weight 0, even NaN, has no effect."""
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0))


def sums_per_level(
    values: Float[Array, "b l"], weights: Float[Array, "b l"], levels: Int[Array, "b l"], rows: int
) -> tuple[Float[jax.Array, " m"], Float[jax.Array, " m"]]:
    """Weighted sums of `values`, and of the weights, over the tokens of each of m = `rows` levels.

    A weight of 0 takes a token out, whatever its value and level.
    """
    weighted = jnp.where(weights > 0, values * weights, 0.0)
    member = (levels[None] == jnp.arange(rows)[:, None, None]).astype(jnp.float32)
    return (
        jnp.sum(member * weighted[None], axis=(1, 2)),
        jnp.sum(member * weights[None], axis=(1, 2)),
    )
