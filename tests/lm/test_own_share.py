"""Training on inputs some of which the model has drawn itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from support.tiny_stages import random_arrays

from audiolm_jax.data.tokens.sequences import build_sequences, shifted
from audiolm_jax.errors import InputError
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.lm.legal import draw_legal, mix_in, targets_of
from audiolm_jax.lm.train import program
from audiolm_jax.stages import EOS, StageConfig, legal_ids
from audiolm_jax.training.state import TrainState

DECODER = DecoderConfig(layers=1, heads=2, head_width=4, width=12, ff_width=16, dropout=0.0)
STAGES = ["semantic", "coarse", "fine"]


def make(name):
    """A stage, rows of random lengths, every other of which ends, and weights."""
    stage = StageConfig(
        name, semantic_clusters=8, codebook_size=6, levels=5, coarse_levels=3, crop_seconds=0.4
    )
    config = StageModelConfig(stage, DECODER)
    rng = np.random.default_rng(0)
    windows = []
    for row in range(6):
        u = int(rng.integers(1, stage.crop_semantic + 1)) if row else stage.crop_semantic
        windows.append((rng.integers(0, 8, u), rng.integers(0, 6, (2 * u, 5)), row % 2 == 0))
    return config, shifted(build_sequences(windows, stage)), random_arrays(config)


def inputs_that_are_targets(batch):
    """Which inputs are targets of the place before them, the end not among them."""
    is_target = (batch.loss_weights > 0) & (batch.targets != EOS)
    return np.pad(is_target[:, :-1], ((0, 0), (1, 0)))


@pytest.mark.parametrize("name", STAGES)
def test_of_the_inputs_only_targets_are_replaced_by_what_was_drawn_there(name):
    config, batch, _ = make(name)
    targets = targets_of(batch, config.stage)
    drawn = 1000 + jnp.arange(targets.ids.size).reshape(targets.ids.shape)
    where = inputs_that_are_targets(batch)
    mixed = {
        share: np.asarray(mix_in(batch.inputs, targets, drawn, share, jax.random.key(0)))
        for share in (0.0, 0.4, 1.0)
    }
    np.testing.assert_array_equal(mixed[0.0], batch.inputs)
    np.testing.assert_array_equal(mixed[1.0] >= 1000, where)
    for row in range(len(where)):  # in their order
        found = mixed[1.0][row][where[row]]
        np.testing.assert_array_equal(found, drawn[row, : len(found)])
    replaced = mixed[0.4] >= 1000
    assert not (replaced & ~where).any()
    assert 0.2 < replaced.sum() / where.sum() < 0.6
    np.testing.assert_array_equal(mixed[0.4][replaced], mixed[1.0][replaced])
    np.testing.assert_array_equal(mixed[0.4][~replaced], batch.inputs[~replaced])


@pytest.mark.parametrize("name", STAGES)
def test_draws_have_the_probabilities_of_the_level(name):
    config, batch, arrays = make(name)
    stage = config.stage
    targets = targets_of(batch, stage)
    graphdef, params = load_decoder(config, arrays)
    model = nnx.merge(graphdef, params)

    @jax.jit
    def draw(key):
        return draw_legal(model, model.stream(batch.inputs), targets, stage, key)

    drawn = np.stack([draw(key) for key in jax.random.split(jax.random.key(1), 400)])
    logits = np.asarray(jax.jit(lambda: model(batch.inputs))(), np.float64)
    table = legal_ids(stage)
    for row in range(len(batch.inputs)):
        for number in range(2 * len(table)):  # two frames
            place = targets.places[row, number]
            if not targets.weights[row, number]:
                continue
            legal = table[number % len(table)] & (np.arange(stage.vocab_size) != EOS)
            shares = np.where(legal, np.exp(logits[row, place]), 0)
            counts = np.bincount(drawn[:, row, number], minlength=stage.vocab_size)
            assert counts[~legal].sum() == 0
            np.testing.assert_allclose(counts / 400, shares / shares.sum(), atol=0.13)


def loss_of(config, batch, arrays, share, key):
    trainer = program(
        config,
        StageTrainConfig(z_loss_weight=0.0, softmax="legal", own_share=share),
        optimizer := optax.sgd(1.0),
    )
    _, params = load_decoder(config, arrays)
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})
    after, metrics = jax.jit(trainer.step)(state, batch, key)
    held_out = jax.jit(trainer.evaluate)(state, batch).totals["loss"]
    return float(metrics["loss"]), float(held_out), jax.tree.leaves(after.params)


def test_a_step_is_that_of_the_batch_with_its_own_draws_in_it():
    """And the gradient sees no more of them than that; held out nothing is replaced."""
    config, batch, arrays = make("coarse")
    key = jax.random.key(7)
    graphdef, params = load_decoder(config, arrays)

    @jax.jit
    def mixed():
        model, targets = nnx.merge(graphdef, params), targets_of(batch, config.stage)
        keys = jax.random.fold_in(key, 1), jax.random.fold_in(key, 2)
        drawn = draw_legal(model, model.stream(batch.inputs), targets, config.stage, keys[0])
        return mix_in(batch.inputs, targets, drawn, 0.5, keys[1])

    own = dataclasses.replace(batch, inputs=np.asarray(mixed()))
    assert (own.inputs != batch.inputs).any()
    loss, held_out, params_after = loss_of(config, batch, arrays, 0.5, key)
    expected, _, expected_after = loss_of(config, own, arrays, 0.0, key)
    plain, plain_held_out, _ = loss_of(config, batch, arrays, 0.0, key)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert abs(loss - plain) > 1e-3
    assert held_out == plain_held_out
    for a, b in zip(params_after, expected_after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"own_share": 1.5, "softmax": "legal"}, "train.own_share = 1.5: expected a share"),
        ({"own_share": float("nan"), "softmax": "legal"}, "train.own_share = nan"),
        ({"own_share": 0.1}, 'train.own_share = 0.1: .*train.softmax = "legal", not "all"'),
    ],
)
def test_config_refuses(fields, words):
    with pytest.raises(InputError, match=words):
        StageTrainConfig(**fields)
