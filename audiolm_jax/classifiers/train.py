"""Training by cross-entropy; batch normalization keeps its moving averages in `rest`."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from audiolm_jax import types
from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.classifiers.config import ClassifierConfig, ClassifierTrainConfig
from audiolm_jax.classifiers.network import Classifier, Moments, empty_moments
from audiolm_jax.nn.conv import NormalDraws, initialize
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.training.update import apply_gradients
from audiolm_jax.types import LabelledBatch

MOMENTS = "moments"  # where they stand in `rest`, and before their names in a model folder


def program(
    model_config: ClassifierConfig,
    train_config: ClassifierTrainConfig,
    optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The classifier's trainer, over batches of `LabelledBatch`; items of length 0 count for
    nothing. `rest` is {"moments"}, `ema` stays empty."""
    abstract = nnx.eval_shape(lambda: Classifier(model_config, draws=NormalDraws(None)))
    graphdef, classes = nnx.graphdef(abstract), len(model_config.classes)

    def init(key: PRNGKeyArray) -> TrainState:
        network = initialize(lambda draws: Classifier(model_config, draws=draws), key)
        params = nnx.state(network, nnx.Param)
        rest = {MOMENTS: empty_moments(model_config)}
        return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), {})

    def prepare(batch: LabelledBatch) -> tuple[Float[Array, "b s"], Array]:
        lengths = jnp.asarray(batch.audio.lengths)
        samples = zero_beyond(jnp.asarray(batch.audio.samples), lengths)
        return constrain(samples, "batch", "time"), lengths

    def measure(logits: Float[Array, "b n"], batch: LabelledBatch) -> Sums:
        labels = jnp.asarray(batch.labels)
        counts = (jnp.asarray(batch.audio.lengths) > 0).astype(jnp.float32)
        of_class = labels[:, None] == jnp.arange(classes)[None]
        loss = -jnp.sum(jax.nn.log_softmax(logits), axis=1, where=of_class)
        is_right = (logits.argmax(1) == labels).astype(jnp.float32)
        totals = {"loss": (loss * counts).sum(), "accuracy": (is_right * counts).sum()}
        return Sums(totals, dict.fromkeys(totals, counts.sum()))

    def step(
        state: TrainState, batch: LabelledBatch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        samples, lengths = prepare(batch)
        if train_config.level_db:
            level = jax.random.uniform(key, lengths.shape, minval=-1.0, maxval=1.0)
            samples *= (10 ** (train_config.level_db / 20 * level))[:, None]

        def loss_of(params: nnx.State) -> tuple[Array, tuple[dict[str, Array], Moments]]:
            outputs = nnx.merge(graphdef, params)(samples, lengths)
            sums = measure(outputs.logits, batch)
            means = {n: sums.totals[n] / jnp.maximum(sums.counts[n], 1) for n in sums.totals}
            return means["loss"], (means, outputs.moments)

        found, grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        metrics, moments = found[1]
        params, opt_state, norms = apply_gradients(optimizer, state.params, state.opt_state, grads)
        rest = {MOMENTS: averaged(state.rest[MOMENTS], moments, state.step)}
        state = TrainState(state.step + 1, params, rest, opt_state, state.ema)
        return state, metrics | norms

    def averaged(average: Moments, moments: Moments, step: Array) -> Moments:
        before = step.astype(jnp.float32)
        decay = jnp.minimum(train_config.norm_decay, before / (before + 1))
        return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, moments)

    def evaluate(state: TrainState, batch: LabelledBatch) -> Sums:
        network: Classifier = nnx.merge(graphdef, state.params)
        return measure(network(*prepare(batch), state.rest[MOMENTS]).logits, batch)

    def export(state: TrainState) -> Mapping[str, types.Array]:
        moments = named_leaves({MOMENTS: state.rest[MOMENTS]})
        return {**named_leaves(state.params), **moments}

    return TrainProgram(init, step, evaluate, export)
