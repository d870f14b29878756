"""Training of one stage: next-token prediction on its target stream (AudioLM section III-C)."""

import dataclasses

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array

from audiolm_jax.errors import InputError
from audiolm_jax.lm.decoder import StageModelConfig, make_decoder
from audiolm_jax.lm.losses import sums_per_level, token_losses, weighted_mean
from audiolm_jax.records import TokenBatch
from audiolm_jax.runtime.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.runtime.weights import flatten_state


@dataclasses.dataclass(frozen=True)
class StageTrainConfig:
    """What is optimised besides the cross entropy.

    Attributes:
      z_loss_weight: weight of the squared log of the softmax normaliser, which keeps logits from
        drifting; t5x uses 1e-4, 0 turns it off.
    """

    z_loss_weight: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.z_loss_weight < float("inf"):
            raise InputError(
                f"train.z_loss_weight = {self.z_loss_weight}: expected a number of at least 0; "
                "t5x uses 1e-4"
            )


def program(
    model_config: StageModelConfig,
    train_config: StageTrainConfig,
    optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The four pure functions of a stage's trainer; its batches are `TokenBatch`.

    Metrics of a step, all over the tokens with weight: `loss` (nats per token), `z_loss`
    (unscaled), `accuracy`, `loss/<row>` for each row of `StageConfig.level_names`, `grad_norm`
    (before the optimiser clips anything) and `param_norm` (after the update). A row without tokens
    in the batch reads 0, which no row with tokens does. Held-out sums have the keys `loss`,
    `accuracy` and `loss/<row>`, where a row without tokens has count 0.

    Args:
      model_config: stage and network.
      train_config: see there.
      optimizer: gets gradients of the mean loss per token.
    """
    names = model_config.stage.level_names
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make_decoder(model_config, jax.random.key(0))))

    def init(key: Array) -> TrainState:
        params = nnx.state(make_decoder(model_config, key))
        return TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})

    def loss_and_metrics(
        params: nnx.State, batch: TokenBatch, key: Array
    ) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(graphdef, params)
        losses = token_losses(model(batch.inputs, dropout_key=key), batch.targets)
        weights = batch.loss_weights
        loss = weighted_mean(losses.cross_entropy, weights)
        z_loss = weighted_mean(losses.z_loss, weights)
        totals, counts = sums_per_level(losses.cross_entropy, weights, batch.levels, len(names))
        per_level = totals / jnp.maximum(counts, 1.0)
        metrics = {
            "loss": loss,
            "z_loss": z_loss,
            "accuracy": weighted_mean(losses.correct, weights),
            **{f"loss/{name}": per_level[row] for row, name in enumerate(names)},
        }
        return loss + train_config.z_loss_weight * z_loss, metrics

    def step(state: TrainState, batch: TokenBatch, key: Array) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(loss_and_metrics, has_aux=True)
        (_, metrics), grads = gradient(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norms = {"grad_norm": optax.tree.norm(grads), "param_norm": optax.tree.norm(params)}
        state = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state)
        return state, metrics | norms

    def evaluate(state: TrainState, batch: TokenBatch) -> Sums:
        model = nnx.merge(graphdef, state.params)
        losses = token_losses(model(batch.inputs), batch.targets)
        totals, counts = sums_per_level(
            losses.cross_entropy, batch.loss_weights, batch.levels, len(names)
        )
        correct, _ = sums_per_level(losses.correct, batch.loss_weights, batch.levels, len(names))
        everything = jnp.sum(counts)
        rows = {f"loss/{name}": row for row, name in enumerate(names)}
        return Sums(
            {"loss": jnp.sum(totals), "accuracy": jnp.sum(correct)}
            | {key: totals[row] for key, row in rows.items()},
            {"loss": everything, "accuracy": everything}
            | {key: counts[row] for key, row in rows.items()},
        )

    def export(state: TrainState) -> dict[str, np.ndarray]:
        return flatten_state(state.params)

    return TrainProgram(init, step, evaluate, export)
