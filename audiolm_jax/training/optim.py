"""Optimizers and learning-rate schedules, as optax transformations."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from audiolm_jax.errors import InputError

# Optax and Flax are imported where they are used: `audiolm train CONFIG --help` waits for neither.
if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer with its schedule."""

    kind: Literal["adamw", "adafactor"] = "adamw"
    """adafactor: factored second moments, steps relative to the size of each parameter, as T5 was
    trained."""
    learning_rate: float = 1e-3
    """The peak rate; for adafactor it is relative to the parameters' root mean square."""
    warmup_steps: int = 100
    """Steps of linear growth from 0 to the peak."""
    schedule: Literal["constant", "cosine", "rsqrt"] = "constant"
    """What follows the warm-up. constant: the peak. cosine: half a cosine down to `final_fraction`
    of the peak at `total_steps`. rsqrt: peak x sqrt(warmup_steps / step)."""
    total_steps: int | None = None
    """The step at which cosine ends; None with the other schedules."""
    final_fraction: float = 0.0
    """The part of the peak that cosine ends at, in [0, 1]."""
    b1: float = 0.9
    """Decay of the first moment; for adafactor 0 keeps no first moment, which saves memory."""
    b2: float = 0.98
    """Decay of adamw's second moment (adafactor has its own rule)."""
    weight_decay: float = 0.0
    """Decoupled weight decay per unit of learning rate, on matrices and larger (leading `layers`
    not counted), never on biases and scales."""
    clip_norm: float | None = 1.0
    """Gradients of a larger global norm are scaled down to it; None never does."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise self._refused("learning_rate", "expected more than 0")
        if self.warmup_steps < 0:
            raise self._refused("warmup_steps", "expected 0 or more")
        if self.schedule == "rsqrt" and self.warmup_steps == 0:
            raise self._refused("warmup_steps", "schedule rsqrt starts from it, set 1 or more")
        if (self.schedule == "cosine") != (self.total_steps is not None):
            raise self._refused(
                "total_steps",
                "schedule cosine needs it, the others must leave it at None; here --optimizer."
                f"schedule {self.schedule}",
            )
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            raise self._refused(
                "total_steps", f"expected more than --optimizer.warmup-steps {self.warmup_steps}"
            )
        if not 0 <= self.final_fraction <= 1:
            raise self._refused("final_fraction", "expected 0 to 1")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise self._refused(name, f"expected 0 <= {name} < 1")
        if self.weight_decay < 0:
            raise self._refused("weight_decay", "expected 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise self._refused("clip_norm", "expected more than 0, or None")

    def _refused(self, name: str, why: str) -> InputError:
        return InputError(f"--optimizer.{name.replace('_', '-')} {getattr(self, name)}: {why}")


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


def make_optimizer(config: OptimizerConfig) -> "optax.GradientTransformation":
    """The optimizer; its state carries the axis names of the parameters it belongs to."""
    import optax

    schedule = learning_rate_schedule(config)
    if config.kind == "adamw":
        optimizer = optax.adamw(
            schedule, config.b1, config.b2, weight_decay=config.weight_decay, mask=_decayed
        )
    else:
        optimizer = optax.adafactor(
            schedule,
            momentum=config.b1 or None,
            weight_decay_rate=config.weight_decay or None,
            weight_decay_mask=_decayed,
        )
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _decayed(params: Any) -> Any:
    from flax import nnx

    def is_matrix(leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return leaf.ndim > 1
        names = leaf.get_metadata().get("out_sharding") or ()
        return leaf.replace(leaf.get_value().ndim - ("layers" in names) > 1)

    return jax.tree.map(is_matrix, params, is_leaf=lambda x: isinstance(x, nnx.Variable))
