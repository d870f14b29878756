"""Optimizers and learning-rate schedules, as optax transformations."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer with its schedule.

    Attributes:
      kind: adamw, or adafactor (factored second moments, steps relative to the size of each
        parameter, as T5 was trained).
      learning_rate: the peak rate; for adafactor it is relative to the parameters' root mean
        square.
      warmup_steps: steps of linear growth from 0 to the peak.
      schedule: what follows the warm-up. constant: the peak. cosine: half a cosine down to
        `final_fraction` of the peak at `total_steps`. rsqrt: peak x sqrt(warmup_steps / step).
      total_steps: the step at which cosine ends; None with the other schedules.
      final_fraction: the part of the peak that cosine ends at, in [0, 1].
      b1: decay of the first moment; for adafactor 0 keeps no first moment, which saves memory.
      b2: decay of adamw's second moment (adafactor has its own rule).
      weight_decay: decoupled weight decay per unit of learning rate, on matrices and larger
        (leading `layers` not counted), never on biases and scales.
      clip_norm: gradients of a larger global norm are scaled down to it; None never does.
    """

    kind: Literal["adamw", "adafactor"] = "adamw"
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    schedule: Literal["constant", "cosine", "rsqrt"] = "constant"
    total_steps: int | None = None
    final_fraction: float = 0.0
    b1: float = 0.9
    b2: float = 0.98
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate = {self.learning_rate}: expected more than 0")
        if self.warmup_steps < 0:
            raise InputError(f"warmup_steps = {self.warmup_steps}: expected 0 or more")
        if self.schedule == "rsqrt" and self.warmup_steps == 0:
            raise InputError("warmup_steps = 0: schedule = 'rsqrt' starts from it, set 1 or more")
        if (self.schedule == "cosine") != (self.total_steps is not None):
            raise InputError(
                f"total_steps = {self.total_steps}: schedule = 'cosine' needs it, the others must "
                f"leave it at None; here schedule = {self.schedule!r}"
            )
        if self.total_steps is not None and self.total_steps <= self.warmup_steps:
            raise InputError(
                f"total_steps = {self.total_steps}: expected more than warmup_steps = "
                f"{self.warmup_steps}"
            )
        if not 0 <= self.final_fraction <= 1:
            raise InputError(f"final_fraction = {self.final_fraction}: expected 0 to 1")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: expected 0 <= {name} < 1")
        if self.weight_decay < 0:
            raise InputError(f"weight_decay = {self.weight_decay}: expected 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InputError(f"clip_norm = {self.clip_norm}: expected more than 0, or None")


def learning_rate_schedule(config: OptimizerConfig) -> optax.Schedule:
    """The learning rate as a function of the completed steps (an integer or an int32 array)."""

    def schedule(completed_steps: Any) -> jax.Array:
        # Counted from 1, so that the first update is already of use.
        step = jnp.asarray(completed_steps, jnp.float32) + 1
        warmup = config.warmup_steps
        rate = jnp.float32(config.learning_rate)
        if config.schedule == "cosine":
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
        optimizer = optax.adafactor(
            schedule,
            momentum=config.b1 or None,
            weight_decay_rate=config.weight_decay or None,
            weight_decay_mask=_decayed,
        )
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def norms(grads: nnx.State, params: nnx.State) -> dict[str, jax.Array]:
    """Metrics of a step: the global norms of gradients and parameters, and those of each group.

    Args:
      grads: before the optimizer clips anything.
      params: of the same structure, after the update.

    Returns:
      `grad_norm` and `param_norm`, and both again as `<norm>/<module>` for each module that the
      model holds directly.
    """
    found = {}
    for name, tree in (("grad_norm", grads), ("param_norm", params)):
        found[name] = optax.tree.norm(tree)
        found |= {f"{name}/{group}": optax.tree.norm(part) for group, part in tree.items()}
    return found


def _decayed(params: Any) -> Any:
    def one(leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return leaf.ndim > 1
        names = leaf.get_metadata().get("out_sharding") or ()
        return leaf.replace(leaf.get_value().ndim - ("layers" in names) > 1)

    return jax.tree.map(one, params, is_leaf=lambda x: isinstance(x, nnx.Variable))
