"""The objective units, and items that the blocks hear earlier or later."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.shifts import begun_later
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig, W2vBertTrainConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.tokenizers.semantic.w2v_bert.train import draw, program, token_validity
from audiolm_jax.types import AudioBatch, UnitBatch

LENGTHS = np.array([6400, 5000, 0], np.int32)


def noise():
    samples = np.random.default_rng(0).normal(0, 0.1, (3, 6400)).astype(np.float32)
    return AudioBatch(samples, LENGTHS)


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(
        tiny_config, objective="units", contrastive_layers=0, codebook_size=5
    )


@pytest.fixture(scope="module")
def state(config, fast_jit):
    return fast_jit(program(config, W2vBertTrainConfig(), optax.adam(1e-3)).init)(jax.random.key(0))


jitted = jax.jit(begun_later)


@given(st.data())
def test_an_item_begun_later_is_cut_and_filled_with_silence(data):
    size = 12  # one program
    length = data.draw(st.integers(0, size))
    shift = data.draw(st.integers(-15, 15))
    samples = np.full((2, size), np.nan, np.float32)
    samples[0, :length] = np.arange(1, length + 1)
    samples[1] = 1.0
    audio = AudioBatch(samples, np.array([length, size], np.int32))
    later = jitted(audio, jnp.array([shift, 0], jnp.int32))
    expected = [
        place + shift + 1 if 0 <= place + shift < length and place < length else 0
        for place in range(size)
    ]
    assert np.asarray(later.samples[0]).tolist() == expected
    np.testing.assert_array_equal(later.samples[1], samples[1])
    assert np.asarray(later.lengths).tolist() == [length, size]


def test_shifts_are_drawn_for_each_item_up_to_the_share_of_a_token():
    def drawn(settings):
        valid = jnp.ones((400, 3), bool)
        return jax.jit(lambda key: draw(key, valid, 8, settings, 640).shift)(jax.random.key(0))

    shift = np.asarray(drawn(W2vBertTrainConfig(time_shift=0.25)))
    assert shift.dtype == np.int32
    assert -160 <= shift.min() < -140
    assert 140 < shift.max() <= 160
    assert drawn(W2vBertTrainConfig()) is None


def test_the_units_given_are_what_is_guessed(config, state, fast_jit):
    """At hidden and visible tokens of an item, whatever stands beyond its end."""
    trainer = program(config, W2vBertTrainConfig(visible_weight=0.5), optax.adam(1e-3))
    units = np.random.default_rng(1).integers(0, 5, (3, 10)).astype(np.int32)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: W2vBert(config, rngs=nnx.Rngs(params=0))))

    @fast_jit
    def guess(params, units, key):
        valid, width = token_validity(noise(), config), config.conformer.width
        drawn = draw(key, valid, width, W2vBertTrainConfig(), config.hop_samples)
        model = nnx.merge(graphdef, params)
        logits = model(noise(), drawn.mask, drawn.mask_vectors, 1.0, units=units).logits
        return jax.nn.log_softmax(logits), drawn.mask, valid

    guessed = guess(state.params, units, jax.random.key(0))
    log_probabilities, hidden, valid = (np.asarray(array) for array in guessed)
    losses = -np.take_along_axis(log_probabilities, units[..., None], 2)[..., 0]
    seen = valid & ~hidden
    evaluate = fast_jit(trainer.evaluate)
    sums = evaluate(state, UnitBatch(noise(), units))
    means = {name: float(sums.totals[name] / sums.counts[name]) for name in sums.totals}
    assert means["masked_loss"] == pytest.approx(losses[hidden].mean(), rel=1e-4)
    assert means["visible_loss"] == pytest.approx(losses[seen].mean(), rel=1e-4)
    assert means["loss"] == pytest.approx(
        means["masked_loss"] + 0.5 * means["visible_loss"], rel=1e-5
    )
    beyond = np.where(valid, units, 3)
    others = evaluate(state, UnitBatch(noise(), beyond))
    assert float(others.totals["loss"]) == float(sums.totals["loss"])


def test_a_step_shifts_what_is_heard_and_an_evaluation_does_not(config, state, fast_jit):
    settings = W2vBertTrainConfig()
    batch = UnitBatch(noise(), np.zeros((3, 10), np.int32))
    plain, shifting = (
        program(config, dataclasses.replace(settings, time_shift=share), optax.adam(1e-3))
        for share in (0.0, 0.5)
    )

    @fast_jit
    def measured(state, key):  # the losses alone: the compiler leaves out what else a step makes
        losses = [x.step(state, batch, key)[1]["masked_loss"] for x in (plain, shifting)]
        return losses, [x.evaluate(state, batch).totals["loss"] for x in (plain, shifting)]

    losses, sums = measured(state, jax.random.key(3))
    assert losses[0] != losses[1]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(("objective", "layers"), [("units", 1), ("w2v_bert", 0)])
def test_units_have_no_contrastive_blocks(objective, layers):
    with pytest.raises(InputError, match=f"--model.contrastive-layers = {layers}"):
        W2vBertConfig(objective=objective, contrastive_layers=layers)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_shifts_beyond_a_token_are_refused(share):
    with pytest.raises(InputError, match=r"--train\.time-shift = "):
        W2vBertTrainConfig(time_shift=share)
