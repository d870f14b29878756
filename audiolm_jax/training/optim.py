"""Optimizers and learning-rate schedules, as optax transformations."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from audiolm_jax.training.adafactor import scale_by_adafactor
from audiolm_jax.training.config import OptimizerConfig


def learning_rate_schedule(config: OptimizerConfig) -> Callable[[Any], jax.Array]:
    """The learning rate as a function of the completed steps (an integer or an int32 array)."""

    # Optax's own schedules subtract from the value that they end at: in float32 the first rates of
    # a long warm-up and the last ones of a cosine are then off by 1e-4.
    def schedule(completed_steps: Any) -> jax.Array:
        # Counted from 1, so that the first update is already of use.
        step = jnp.asarray(completed_steps, jnp.float32) + 1
        warmup = config.warmup_steps
        rate = jnp.asarray(config.learning_rate, jnp.float32)
        if config.total_steps is not None:  # cosine
            done = jnp.clip((step - warmup) / (config.total_steps - warmup), 0, 1)
            low = config.final_fraction
            rate *= low + (1 - low) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        elif config.schedule == "rsqrt":
            rate *= jnp.sqrt(warmup / jnp.maximum(step, warmup))
        return rate * jnp.minimum(1.0, step / warmup) if warmup else rate

    return schedule


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """The optimizer; its state carries the axis names of the parameters it belongs to."""
    schedule = learning_rate_schedule(config)
    if config.kind == "adamw":
        optimizer = optax.adamw(
            schedule, config.b1, config.b2, weight_decay=config.weight_decay, mask=_decayed
        )
    else:
        momentum = (optax.ema(config.b1, debias=False),) if config.b1 else ()
        # Behind the momentum, of which the decay is no part.
        decay = optax.add_decayed_weights(
            lambda step: config.weight_decay * schedule(step), _decayed
        )
        optimizer = optax.chain(
            scale_by_adafactor(),
            optax.scale_by_learning_rate(schedule, flip_sign=False),
            *momentum,
            *((decay,) if config.weight_decay else ()),
            optax.scale(-1.0),
        )
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _decayed(params: Any) -> Any:
    def is_matrix(leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return leaf.ndim > 1
        names = leaf.get_metadata().get("out_sharding") or ()
        return leaf.replace(leaf.get_value().ndim - ("layers" in names) > 1)

    return jax.tree.map(is_matrix, params, is_leaf=lambda x: isinstance(x, nnx.Variable))
