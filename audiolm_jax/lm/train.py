"""Training of one stage: next-token prediction on its target stream (AudioLM section III-C)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Key

from audiolm_jax.errors import InputError
from audiolm_jax.lm.config import StageModelConfig, StageTrainConfig
from audiolm_jax.lm.decoder import Decoder, make_decoder
from audiolm_jax.lm.legal import legal_losses, targets_of
from audiolm_jax.lm.losses import TokenLosses, sums_per_level, token_losses, weighted_sum
from audiolm_jax.nn.partition import constrain, device_count
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.stages import FIRST_ID, PAD, SEP
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.training.update import apply_gradients
from audiolm_jax.types import TokenBatch

# What lengths are lengthened to a multiple of, by the kind of attention: flash to the rows of a
# TPU's tile of bfloat16, because else the compiler copies activations around every product
# (docs/guide/tpu.md); cudnn to what its kernel asks for.
LENGTH_MULTIPLES = {"blocks": 1, "flash": 16, "cudnn": 2}


class StepSums(NamedTuple):
    """Sums over the tokens with weight; they add up over micro-batches."""

    cross_entropy: Array  # []
    z_loss: Array  # []
    correct: Array  # []
    level_totals: Array  # [m], cross entropy of each row of `StageConfig.level_names`
    level_counts: Array  # [m], weights of each row


def split_batch(batch: TokenBatch, parts: int) -> TokenBatch:
    """The batch with a leading axis of `parts`, each part spread over all devices as the whole is.

    Part i holds the rows i, i + parts, i + 2 parts, ..., so that no row leaves its device.
    """
    rows, devices = batch.inputs.shape[0], device_count("batch")
    if rows % (parts * devices):
        words = f"{parts} parts on {devices} devices do not divide a batch of {rows} rows"
        remedy = f"choose a batch size that is a multiple of {parts * devices}"
        raise InputError(f"train.micro_batches = {parts}: {words}; {remedy}")
    apart = lambda x: x.reshape(rows // parts, parts, *x.shape[1:]).swapaxes(0, 1)  # noqa: E731
    return jax.tree.map(lambda x: constrain(apart(x), None, "batch", "length"), batch)


def align(batch: TokenBatch, multiple: int) -> TokenBatch:
    """The batch with rows lengthened to a multiple by tokens without weight, without effect."""
    padding = ((0, 0), (0, -batch.inputs.shape[1] % multiple))
    return jax.tree.map(lambda x: jnp.pad(x, padding), batch)


def hide_conditions(batch: TokenBatch, key: Key[Array, ""], share: float) -> TokenBatch:
    """The batch with PAD in place of the condition, as `stages.without_condition` has it, in about
    `share` of its rows, drawn from the key."""
    inputs = jnp.asarray(batch.inputs)
    place = jnp.arange(inputs.shape[1])[None]
    sep = jnp.argmax(inputs == SEP, axis=1)[:, None]
    is_hidden = jax.random.bernoulli(key, share, (len(inputs), 1))
    hidden = jnp.where(is_hidden & (0 < place) & (place < sep), PAD, inputs)
    return dataclasses.replace(batch, inputs=hidden)


def begin_at_centroids(
    params: nnx.State, key: Key[Array, ""], model: StageModelConfig, centroids: Float[Array, "k d"]
) -> nnx.State:
    """Random parameters, of which units that sound alike have like embeddings: those of semantic
    tokens, and the output's columns that predict them, become random projections of the semantic
    tokenizer's `centroids`, as large as they were. Of a stage without semantic tokens nothing does.
    """
    stage, width = model.stage, model.decoder.width
    if not stage.reads_semantic:
        return params
    centered = centroids - centroids.mean(axis=0, keepdims=True)
    scale = jnp.sqrt(jnp.mean(jnp.square(centered)) * centroids.shape[1])
    projection = jax.random.normal(jax.random.fold_in(key, 1), (centroids.shape[1], width))
    rows = (centered / scale) @ projection
    units = slice(FIRST_ID, FIRST_ID + stage.semantic_clusters)
    decoder = nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: make_decoder(model, key))), params)
    table = decoder.embedding.embedding
    table[...] = table[...].at[units].set(rows)
    if decoder.output is not None and stage.name == "semantic":
        kernel = decoder.output.kernel
        spread = jnp.std(kernel[...][:, units])
        kernel[...] = kernel[...].at[:, units].set(spread * rows.T)
    return nnx.state(decoder)


def program(
    model_config: StageModelConfig,
    train_config: StageTrainConfig,
    optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The pure functions of a stage's trainer; its batches are `TokenBatch`.

    The optimizer gets gradients of the mean loss per token. Metrics are means over the tokens with
    weight: `loss` (nats), `z_loss` (unscaled), `accuracy`, `loss/<row>` for each of
    `StageConfig.level_names`, and `norms`. A row without tokens reads 0 in a step, which no other
    does; held out, where `z_loss` is left out, it has count 0.
    """
    stage = model_config.stage
    names = stage.level_names
    multiple = LENGTH_MULTIPLES[model_config.decoder.attention]
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make_decoder(model_config, jax.random.key(0))))

    def init(key: Array) -> TrainState:
        params = nnx.state(make_decoder(model_config, key))
        return TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})

    def losses_of(
        model: Decoder, batch: TokenBatch, key: Array | None
    ) -> tuple[TokenLosses, Array, Array]:
        """Losses, weights and levels of tokens, among them all those with weight."""
        if train_config.softmax == "legal":
            targets = targets_of(batch, stage)
            stream = model.stream(batch.inputs, dropout_key=key)
            losses = legal_losses(model, stream, targets, stage)
            return losses, targets.weights, targets.levels
        losses = token_losses(model(batch.inputs, dropout_key=key), batch.targets)
        return losses, jnp.asarray(batch.loss_weights), jnp.asarray(batch.levels)

    def loss_and_sums(
        params: nnx.State, batch: TokenBatch, total_weight: Array, key: Array
    ) -> tuple[Array, StepSums]:
        """What these rows add to the loss of the batch, whose weights sum to `total_weight`."""
        model = nnx.merge(graphdef, params)
        losses, weights, levels = losses_of(model, batch, key)
        by_level = sums_per_level(losses.cross_entropy, weights, levels, len(names))
        cross_entropy, z_loss, correct = (weighted_sum(x, weights) for x in losses)
        sums = StepSums(cross_entropy, z_loss, correct, *by_level)
        loss = sums.cross_entropy + train_config.z_loss_weight * sums.z_loss
        return loss / total_weight, sums

    gradient = jax.value_and_grad(loss_and_sums, has_aux=True)

    def gradient_in_parts(
        params: nnx.State, batch: TokenBatch, total_weight: Array, key: Array
    ) -> tuple[nnx.State, StepSums]:
        parts = split_batch(batch, train_config.micro_batches)
        keys = jax.random.split(key, train_config.micro_batches)

        def add(so_far: Any, part: tuple[TokenBatch, Array]) -> tuple[Any, None]:
            (_, sums), grads = gradient(params, part[0], total_weight, part[1])
            return jax.tree.map(jnp.add, so_far, (grads, sums)), None

        nothing = (
            jax.tree.map(jnp.zeros_like, params),
            StepSums(*(jnp.zeros(()) for _ in range(3)), *jnp.zeros((2, len(names)))),
        )
        return jax.lax.scan(add, nothing, (parts, keys))[0]

    def step(state: TrainState, batch: TokenBatch, key: Array) -> tuple[TrainState, Metrics]:
        batch = align(batch, multiple)
        if stage.condition_dropout:
            batch = hide_conditions(batch, jax.random.fold_in(key, 1), stage.condition_dropout)
        total_weight = jnp.maximum(jnp.sum(batch.loss_weights), 1.0)
        if train_config.micro_batches == 1:
            (_, sums), grads = gradient(state.params, batch, total_weight, key)
        else:
            grads, sums = gradient_in_parts(state.params, batch, total_weight, key)
        params, opt_state, norms = apply_gradients(optimizer, state.params, state.opt_state, grads)
        per_level = sums.level_totals / jnp.maximum(sums.level_counts, 1.0)
        metrics = {
            "loss": sums.cross_entropy / total_weight,
            "z_loss": sums.z_loss / total_weight,
            "accuracy": sums.correct / total_weight,
            **{f"loss/{name}": per_level[row] for row, name in enumerate(names)},
            **norms,
        }
        state = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state)
        return state, metrics

    def evaluate(state: TrainState, batch: TokenBatch) -> Sums:
        batch = align(batch, multiple)
        model = nnx.merge(graphdef, state.params)
        losses, weights, levels = losses_of(model, batch, None)
        totals, counts = sums_per_level(losses.cross_entropy, weights, levels, len(names))
        correct, _ = sums_per_level(losses.correct, weights, levels, len(names))
        sums = {"loss": jnp.sum(totals), "accuracy": jnp.sum(correct)}
        of_all = dict.fromkeys(sums, jnp.sum(counts))
        of_rows = {f"loss/{name}": row for row, name in enumerate(names)}
        sums |= {name: totals[row] for name, row in of_rows.items()}
        return Sums(sums, of_all | {name: counts[row] for name, row in of_rows.items()})

    return TrainProgram(init, step, evaluate, lambda state: named_leaves(state.params))
