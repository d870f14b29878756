"""Losses under a softmax over a level's own ids, against the whole softmax cut to them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from support.tiny_stages import random_arrays

from audiolm_jax.data.tokens.sequences import build_sequences, shifted
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.lm.train import program
from audiolm_jax.stages import EOS, StageConfig, legal_ids
from audiolm_jax.training.state import TrainState

DECODER = DecoderConfig(layers=1, heads=2, head_width=4, width=12, ff_width=16, dropout=0.0)


def make(name, tied=False):
    stage = StageConfig(
        name, semantic_clusters=8, codebook_size=6, levels=5, coarse_levels=3, crop_seconds=0.4
    )
    config = StageModelConfig(stage, dataclasses.replace(DECODER, tied_embeddings=tied))
    rng = np.random.default_rng(0)
    windows = [None]
    for row in range(6):
        u = int(rng.integers(1, stage.crop_semantic + 1)) if row else stage.crop_semantic
        windows.append((rng.integers(0, 8, u), rng.integers(0, 6, (2 * u, 5)), row % 2 == 0))
    return config, shifted(build_sequences(windows, stage)), random_arrays(config)


def expected_losses(config, arrays, batch):
    """In float64, token by token, from all logits: (losses, rows of `level_names`)."""
    stage, table = config.stage, legal_ids(config.stage)
    graphdef, params = load_decoder(config, arrays)
    run = jax.jit(lambda params: nnx.merge(graphdef, params)(batch.inputs))
    logits = np.asarray(run(params), np.float64)
    losses, rows = [], []
    for row in range(len(logits)):
        places = np.flatnonzero(batch.loss_weights[row])
        for number, place in enumerate(places):
            legal = table[number % len(stage.target_levels)]
            own, target = np.where(legal, logits[row, place], -np.inf), batch.targets[row, place]
            assert legal[target]
            losses.append(np.log(np.exp(own).sum()) - own[target])
            rows.append(len(stage.level_names) - 1 if target == EOS else batch.levels[row, place])
    return np.array(losses), np.array(rows)


@pytest.mark.parametrize(
    ("name", "tied"),
    [
        ("semantic", False),
        ("coarse", False),
        ("fine", False),
        ("fine", True),
        pytest.param("semantic", True, marks=pytest.mark.slow),
        pytest.param("coarse", True, marks=pytest.mark.slow),
    ],
)
def test_losses_are_those_of_the_whole_softmax_cut_to_the_level(name, tied):
    config, batch, arrays = make(name, tied)
    losses, rows = expected_losses(config, arrays, batch)
    trainer = program(config, StageTrainConfig(softmax="legal"), optax.sgd(0.1))
    _, params = load_decoder(config, arrays)
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optax.sgd(0.1).init(params), {})

    @jax.jit
    def measured(state, key):  # the loss alone: the compiler leaves out what else a step makes
        return trainer.evaluate(state, batch), trainer.step(state, batch, key)[1]["loss"]

    found, loss = measured(state, jax.random.key(0))
    np.testing.assert_allclose(found.totals["loss"], losses.sum(), rtol=1e-5)
    assert found.counts["loss"] == len(losses) == batch.loss_weights.sum()
    for row, level in enumerate(config.stage.level_names):
        np.testing.assert_allclose(
            found.totals[f"loss/{level}"], losses[rows == row].sum(), rtol=1e-5, atol=1e-6
        )
        assert found.counts[f"loss/{level}"] == (rows == row).sum()
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-5)


@pytest.mark.parametrize(("name", "parts"), [("semantic", 7), ("coarse", 7), ("fine", 1)])
def test_gradients_are_those_of_the_cut_softmax_and_leave_other_outputs_alone(name, parts):
    config, batch, arrays = make(name)
    graphdef, params = load_decoder(config, arrays)
    table = legal_ids(config.stage)
    counts = np.cumsum(batch.loss_weights, axis=1).astype(int) - 1
    legal = table[np.maximum(counts, 0) % len(table)]

    def plain(params):
        logits = nnx.merge(graphdef, params)(batch.inputs)
        logits = jnp.where(legal, logits, -1e30)
        found = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return jnp.sum(jnp.where(batch.loss_weights > 0, found, 0)) / batch.loss_weights.sum()

    optimizer = optax.sgd(1.0)
    options = StageTrainConfig(z_loss_weight=0.0, softmax="legal", micro_batches=parts)
    trainer = program(config, options, optimizer)
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), {})

    @jax.jit
    def run(state, key):
        return trainer.step(state, batch, key)[0].params, jax.grad(plain)(state.params)

    after, expected = run(state, jax.random.key(0))
    for old, new, gradient in zip(*map(jax.tree.leaves, (params, after, expected)), strict=True):
        close = 2e-6 + 1e-4 * np.abs(gradient).max()
        np.testing.assert_allclose(np.asarray(old) - new, gradient, atol=close)


def test_a_whole_softmax_counts_more_ids_and_so_loses_more():
    config, batch, arrays = make("fine")
    _, params = load_decoder(config, arrays)
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, optax.sgd(1.0).init(params), {})
    found = {}
    for softmax in ("all", "legal"):
        trainer = program(config, StageTrainConfig(softmax=softmax), optax.sgd(1.0))
        found[softmax] = float(jax.jit(trainer.evaluate)(state, batch).totals["loss"])
    assert found["legal"] < 0.9 * found["all"]
