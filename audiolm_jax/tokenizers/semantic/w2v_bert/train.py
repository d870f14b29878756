"""Training of the semantic encoder: L = L_contrastive + 0.1 L_diversity + L_masked_prediction.

With the model's objective best_rq L_masked_prediction is all there is.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from audiolm_jax.errors import InputError
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.tokenizers.semantic.w2v_bert import draws, losses
from audiolm_jax.tokenizers.semantic.w2v_bert.model import Outputs, W2vBert, W2vBertConfig
from audiolm_jax.training.optim import norms
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.types import AudioBatch

KIND = "w2v_bert"
_EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class W2vBertTrainConfig:
    """Masks, temperatures and weights of the losses.

    The defaults are those of arXiv:2108.06209, and wav2vec 2.0's where it is silent.

    Attributes:
      mask_probability: chance that a token starts a hidden span.
      mask_length: tokens in a hidden span.
      mask_noise: standard deviation of the random vectors that stand for hidden tokens.
      frequency_warp: in training the blocks hear each item with its frequencies multiplied by a
        factor between 1 / (1 + this) and 1 + this, the targets come from the item as it is: what
        tells speakers apart then helps less to guess them (the context alone is altered, as by
        Kharitonov et al. 2020, arXiv:2007.00991). The paper has none: 0 is off.
      distractors: wrong answers per hidden token in the contrastive task.
      contrastive_temperature: divides the cosine similarities.
      gumbel_temperature: of the quantiser's softmax at step 0.
      gumbel_temperature_end: lowest temperature.
      gumbel_temperature_decay: factor per step.
      target_gradient_scale: share of the quantiser's gradient that reaches the subsampling, 0 to
        1; wav2vec 2.0 has 0.1. Whole, it teaches features that are easy to guess.
      masked_weight: weight of masked prediction; the contrastive loss has weight 1.
      visible_weight: weight of the same prediction at tokens that are not hidden (1 - alpha of
        HuBERT, arXiv:2106.07447, section II-B). The paper's loss has none: then only what many
        steps teach ties a late layer's feature to its own token.
      diversity_weight: weight of the diversity loss.
      feature_penalty_weight: weight of the mean square of the subsampled features; 0 is off.
      least_code_use: a held-out code perplexity below this share of the codebook ends the run: the
        quantiser has collapsed, and the features are worthless; 0 never does.
    """

    mask_probability: float = 0.065
    mask_length: int = 10
    mask_noise: float = 0.1
    frequency_warp: float = 0.0
    distractors: int = 100
    contrastive_temperature: float = 0.1
    gumbel_temperature: float = 2.0
    gumbel_temperature_end: float = 0.1
    gumbel_temperature_decay: float = 0.999995
    target_gradient_scale: float = 0.1
    masked_weight: float = 1.0
    visible_weight: float = 0.0
    diversity_weight: float = 0.1
    feature_penalty_weight: float = 0.0
    least_code_use: float = 0.02

    def __post_init__(self) -> None:
        for name in ("mask_probability", "gumbel_temperature_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"train.{name} = {getattr(self, name)}: expected above 0, up to 1")
        for name in ("mask_length", "distractors"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name} = {getattr(self, name)}: expected at least 1")
        for name in (
            "mask_noise",
            "frequency_warp",
            "masked_weight",
            "visible_weight",
            "diversity_weight",
            "feature_penalty_weight",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"train.{name} = {getattr(self, name)}: expected 0 or more")
        for name in ("target_gradient_scale", "least_code_use"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"train.{name} = {getattr(self, name)}: expected 0 to 1")
        if self.contrastive_temperature <= 0:
            raise InputError(
                f"train.contrastive_temperature = {self.contrastive_temperature}: expected above 0"
            )
        if not 0 < self.gumbel_temperature_end <= self.gumbel_temperature:
            raise InputError(
                f"train.gumbel_temperature_end = {self.gumbel_temperature_end}: expected above 0, "
                f"up to gumbel_temperature = {self.gumbel_temperature}"
            )


class Randomness(NamedTuple):
    """What chance decides in one pass.

    Attributes:
      mask: bool [b, u], hidden tokens.
      mask_vectors: [b, u, d], what the blocks see there.
      distractors: int32 [b, u, n], positions.
      warp: [b], factors of the frequencies; None if they are not altered.
    """

    mask: Array
    mask_vectors: Array
    distractors: Array
    warp: Array | None = None


def draw(
    key: Key[Array, ""],
    valid: Bool[Array, "b u"],
    width: int,
    config: W2vBertTrainConfig,
) -> Randomness:
    """All of them from one key."""
    mask_key, vector_key, distractor_key = jax.random.split(key, 3)
    mask = losses.span_mask(mask_key, valid, config.mask_probability, config.mask_length)
    vectors = config.mask_noise * draws.normal(vector_key, (*valid.shape, width))
    distractors = losses.sample_distractors(distractor_key, mask, config.distractors)
    warp = None
    if config.frequency_warp:
        exponent = draws.uniform(jax.random.fold_in(key, 3), valid.shape[:1])
        warp = (1 + config.frequency_warp) ** (2 * exponent - 1)
    return Randomness(mask, vectors, distractors, warp)


def token_validity(audio: AudioBatch, config: W2vBertConfig) -> Bool[Array, "b u"]:
    """Which tokens of a batch lie within their item."""
    tokens = -(-audio.samples.shape[1] // config.hop_samples)
    return valid_frames(-(-jnp.asarray(audio.lengths) // config.hop_samples), tokens)


def measure(
    outputs: Outputs, drawn: Randomness, config: W2vBertTrainConfig
) -> tuple[Float[Array, ""], dict[str, losses.Sum]]:
    """The training loss, and what is worth reporting, as sums over positions."""
    one = jnp.ones((), jnp.float32)
    visible = outputs.valid & ~drawn.mask
    masked, masked_accuracy = losses.prediction_loss(outputs, drawn.mask)
    seen, seen_accuracy = losses.prediction_loss(outputs, visible)
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
        "code_perplexity": losses.Sum(losses.code_perplexity(outputs), one),
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
            "diversity_loss": losses.Sum(diversity, one),
        }
    return loss, {"loss": losses.Sum(loss, one), **sums}


def program(
    model_config: W2vBertConfig,
    train_config: W2vBertTrainConfig,
    optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The trainer of the encoder, over batches of `AudioBatch`.

    `TrainState.params` is the `nnx.State` of `W2vBert`; `rest` and `ema` stay empty. A held-out
    `code_perplexity` below `least_code_use` ends the run.
    """

    def build(key: Array) -> W2vBert:
        return W2vBert(model_config, rngs=nnx.Rngs(params=key))

    graphdef = nnx.graphdef(nnx.eval_shape(lambda: build(jax.random.key(0))))
    width = model_config.conformer.width

    def init(key: Array) -> TrainState:
        params = nnx.state(build(key), nnx.Param)
        return TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})

    def step(state: TrainState, batch: AudioBatch, key: Array) -> tuple[TrainState, Metrics]:
        draw_key, gumbel_key, dropout_key = jax.random.split(key, 3)
        drawn = draw(draw_key, token_validity(batch, model_config), width, train_config)
        decayed = train_config.gumbel_temperature * jnp.power(
            train_config.gumbel_temperature_decay, state.step.astype(jnp.float32)
        )
        temperature = jnp.maximum(decayed, train_config.gumbel_temperature_end)

        def loss_of(params: nnx.State) -> tuple[Array, dict[str, losses.Sum]]:
            outputs = nnx.merge(graphdef, params)(
                batch,
                drawn.mask,
                drawn.mask_vectors,
                temperature,
                train_config.target_gradient_scale,
                drawn.warp,
                gumbel_key,
                dropout_key,
            )
            return measure(outputs, drawn, train_config)

        (_, sums), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {name: value.mean() for name, value in sums.items()}
        if model_config.objective == "w2v_bert":
            metrics["gumbel_temperature"] = temperature
        metrics |= norms(gradients, params)
        return TrainState(state.step + 1, params, state.rest, opt_state, state.ema), metrics

    def evaluate(state: TrainState, batch: AudioBatch) -> Sums:
        key = jax.random.key(_EVALUATION_SEED)
        drawn = draw(key, token_validity(batch, model_config), width, train_config)
        model = nnx.merge(graphdef, state.params)
        # Without noise, the temperature has no effect on what is measured.
        outputs = model(batch, drawn.mask, drawn.mask_vectors, 1.0)
        _, sums = measure(outputs, drawn, train_config)
        return Sums(
            {name: value.total.astype(jnp.float32) for name, value in sums.items()},
            {name: value.count.astype(jnp.float32) for name, value in sums.items()},
        )

    def verdict(heldout: Mapping[str, float]) -> str | None:
        least = train_config.least_code_use * model_config.codebook_size
        if heldout["code_perplexity"] >= least:
            return None
        return (
            f"code_perplexity = {heldout['code_perplexity']:.1f}, expected {least:.1f} or more "
            f"(train.least_code_use of {model_config.codebook_size} codes): the quantiser has "
            "collapsed; lower optimizer.learning_rate or train.target_gradient_scale, or raise "
            "train.diversity_weight, in another directory, or train model.objective = 'best_rq', "
            "whose codes cannot"
        )

    return TrainProgram(init, step, evaluate, lambda state: flatten_state(state.params), verdict)
