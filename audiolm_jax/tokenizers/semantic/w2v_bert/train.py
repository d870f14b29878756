"""Training by L_contrastive + 0.1 L_diversity + L_masked_prediction, or by the last alone."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.tokenizers.semantic.w2v_bert import draws, losses
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig, W2vBertTrainConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import Outputs, W2vBert
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.training.update import apply_gradients
from audiolm_jax.types import AudioBatch, UnitBatch


class Randomness(NamedTuple):
    """What chance decides in one pass."""

    mask: Array  # bool [b, u], hidden tokens
    mask_vectors: Array  # [b, u, d], what the blocks see there
    distractors: Array  # int32 [b, u, n], positions
    warp: Array | None = None  # [b], factors of the frequencies; None if they are not altered
    shift: Array | None = None  # int32 [b], samples; None if nothing is shifted


def draw(
    key: Key[Array, ""],
    valid: Bool[Array, "b u"],
    width: int,
    config: W2vBertTrainConfig,
    hop_samples: int,
) -> Randomness:
    """All that is random of a pass, from a single key."""
    mask_key, vector_key, distractor_key = jax.random.split(key, 3)
    mask = losses.span_mask(mask_key, valid, config.mask_probability, config.mask_length)
    vectors = config.mask_noise * draws.normal(vector_key, (*valid.shape, width))
    distractors = losses.sample_distractors(distractor_key, mask, config.distractors)
    warp = None
    if config.frequency_warp:
        exponent = draws.uniform(jax.random.fold_in(key, 3), valid.shape[:1])
        warp = (1 + config.frequency_warp) ** (2 * exponent - 1)
    shift = None
    if config.time_shift:
        share = 2 * draws.uniform(jax.random.fold_in(key, 4), valid.shape[:1]) - 1
        shift = jnp.round(share * config.time_shift * hop_samples).astype(jnp.int32)
    return Randomness(mask, vectors, distractors, warp, shift)


def token_validity(audio: AudioBatch, config: W2vBertConfig) -> Bool[Array, "b u"]:
    """Which tokens of a batch lie within their item."""
    tokens = -(-audio.samples.shape[1] // config.hop_samples)
    return valid_frames(-(-jnp.asarray(audio.lengths) // config.hop_samples), tokens)


def parts_of(batch: AudioBatch | UnitBatch) -> tuple[AudioBatch, Array | None]:
    """Audio, and the units to guess if they come with it."""
    if isinstance(batch, AudioBatch):
        return batch, None
    return batch.audio, jnp.asarray(batch.units)


def measure(
    outputs: Outputs, drawn: Randomness, config: W2vBertTrainConfig
) -> tuple[Float[Array, ""], dict[str, losses.Sum]]:
    """The training loss, and what is worth reporting, as sums over positions."""
    unit = jnp.ones((), jnp.float32)
    masked, masked_accuracy = losses.prediction_loss(outputs, drawn.mask)
    seen, seen_accuracy = losses.prediction_loss(outputs, outputs.valid & ~drawn.mask)
    penalty = losses.feature_penalty(outputs)
    loss = config.masked_weight * masked.mean() + config.feature_penalty_weight * penalty.mean()
    if config.visible_weight:  # off, it is measured but nothing runs back through it
        loss += config.visible_weight * seen.mean()
    sums = {
        "masked_loss": masked,
        "masked_accuracy": masked_accuracy,
        "visible_loss": seen,
        "visible_accuracy": seen_accuracy,
        "feature_square": penalty,
        "code_perplexity": losses.Sum(losses.code_perplexity(outputs), unit),
        "masked_fraction": losses.Sum(drawn.mask.sum(), outputs.valid.sum()),
    }
    if outputs.quantized is not None:
        contrastive, contrastive_accuracy = losses.contrastive_loss(
            outputs, drawn.mask, drawn.distractors, config.contrastive_temperature
        )
        diversity = losses.diversity_loss(outputs)
        loss += contrastive.mean() + config.diversity_weight * diversity
        sums |= {
            "contrastive_loss": contrastive,
            "contrastive_accuracy": contrastive_accuracy,
            "diversity_loss": losses.Sum(diversity, unit),
        }
    return loss, {"loss": losses.Sum(loss, unit), **sums}


def program(
    model_config: W2vBertConfig,
    train_config: W2vBertTrainConfig,
    optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The trainer of the encoder, over batches of `AudioBatch`, with the objective units of
    `UnitBatch`; `rest` and `ema` stay empty."""

    def build(key: Array) -> W2vBert:
        return W2vBert(model_config, rngs=nnx.Rngs(params=key))

    graphdef = nnx.graphdef(nnx.eval_shape(lambda: build(jax.random.key(0))))
    width = model_config.conformer.width

    def init(key: Array) -> TrainState:
        params = nnx.state(build(key), nnx.Param)
        return TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})

    def drawn_for(audio: AudioBatch, key: Array) -> Randomness:
        valid = token_validity(audio, model_config)
        return draw(key, valid, width, train_config, model_config.hop_samples)

    def step(
        state: TrainState, batch: AudioBatch | UnitBatch, key: Array
    ) -> tuple[TrainState, Metrics]:
        draw_key, gumbel_key, dropout_key = jax.random.split(key, 3)
        audio, units = parts_of(batch)
        drawn = drawn_for(audio, draw_key)
        decayed = train_config.gumbel_temperature * jnp.power(
            train_config.gumbel_temperature_decay, state.step.astype(jnp.float32)
        )
        temperature = jnp.maximum(decayed, train_config.gumbel_temperature_end)

        def loss_of(params: nnx.State) -> tuple[Array, dict[str, losses.Sum]]:
            model, scale = nnx.merge(graphdef, params), train_config.target_gradient_scale
            seen = (drawn.mask, drawn.mask_vectors, temperature, scale, drawn.warp)
            outputs = model(audio, *seen, gumbel_key, dropout_key, drawn.shift, units)
            return measure(outputs, drawn, train_config)

        (_, sums), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        params, opt_state, norms = apply_gradients(optimizer, state.params, state.opt_state, grads)
        metrics = {name: value.mean() for name, value in sums.items()}
        if model_config.objective == "w2v_bert":
            metrics["gumbel_temperature"] = temperature
        metrics |= norms
        return TrainState(state.step + 1, params, state.rest, opt_state, state.ema), metrics

    def evaluate(state: TrainState, batch: AudioBatch | UnitBatch) -> Sums:
        audio, units = parts_of(batch)
        drawn = drawn_for(audio, jax.random.key(0))  # equal for every evaluation
        model = nnx.merge(graphdef, state.params)
        # Without noise, the temperature has no effect on what is measured.
        outputs = model(audio, drawn.mask, drawn.mask_vectors, 1.0, units=units)
        _, sums = measure(outputs, drawn, train_config)
        return Sums(
            {name: value.total.astype(jnp.float32) for name, value in sums.items()},
            {name: value.positions.astype(jnp.float32) for name, value in sums.items()},
        )

    def verdict(heldout: Mapping[str, float]) -> str | None:
        least = train_config.least_code_use * model_config.codebook_size
        if heldout["code_perplexity"] >= least:
            return None
        return (
            f"code_perplexity = {heldout['code_perplexity']:.1f}, expected {least:.1f} or more "
            "(--train.least-code-use): the quantizer has collapsed; in another directory lower "
            "--optimizer.learning-rate or --train.target-gradient-scale, raise "
            "--train.diversity-weight, or use --model.objective best_rq, which cannot collapse"
        )

    return TrainProgram(init, step, evaluate, lambda state: named_leaves(state.params), verdict)
