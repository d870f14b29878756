"""BEST-RQ: targets of a random quantiser, and training on masked prediction alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.w2v_bert import train
from audiolm_jax.tokenizers.semantic.w2v_bert.best_rq import random_projection_ids
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig
from audiolm_jax.types import AudioBatch


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(
        tiny_config,
        objective="best_rq",
        contrastive_layers=0,
        masked_layers=2,
        codebook_size=16,
        code_width=4,
    )


def test_ids_are_the_nearest_directions():
    config = W2vBertConfig(
        objective="best_rq", contrastive_layers=0, mel_bins=10, codebook_size=64, code_width=6
    )
    mel = jnp.asarray(np.random.default_rng(1).normal(size=(2, 31, 10)), jnp.float32)
    ids = np.asarray(random_projection_ids(mel, config))
    rng = np.random.default_rng(config.projection_seed)
    limit = np.sqrt(6 / 46)
    projection = rng.uniform(-limit, limit, (40, 6))
    codes = rng.standard_normal((64, 6))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    stacked = np.pad(mel, ((0, 0), (0, 1), (0, 0))).reshape(2, 8, 40) @ projection
    stacked /= np.linalg.norm(stacked, axis=-1, keepdims=True)
    distances = np.linalg.norm(stacked[:, :, None] - codes, axis=-1)
    np.testing.assert_array_equal(ids, distances.argmin(-1))
    assert len(np.unique(ids)) > 8
    louder = np.asarray(random_projection_ids(3 * mel, config))
    np.testing.assert_array_equal(ids, louder)
    other = dataclasses.replace(config, projection_seed=1)
    assert (np.asarray(random_projection_ids(mel, other)) != ids).mean() > 0.5


def test_nothing_of_the_contrastive_task_is_there(config):
    trainer = train.program(config, train.W2vBertTrainConfig(), optax.sgd(0.1))
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    batch = AudioBatch(np.zeros((2, 6400), np.float32), np.array([6400, 700], np.int32))
    _, metrics = jax.eval_shape(trainer.step, state, batch, jax.random.key(1))
    assert {"loss", "masked_loss", "code_perplexity"} <= metrics.keys()
    assert not any("contrastive" in name or "gumbel" in name for name in metrics)
    assert not {"quantizer", "context"} & set(state.params)


@pytest.mark.slow
def test_training_learns_to_guess_codes_that_never_change(config, fast_jit):
    rng = np.random.default_rng(0)
    tones = np.repeat(rng.choice([200, 900, 3000], (8, 4)), 3200, axis=1)
    samples = np.sin(np.cumsum(tones, axis=1) * 2 * np.pi / 16_000).astype(np.float32)
    samples[6, 9000:] = np.nan  # padding
    batch = AudioBatch(samples, np.array([12_800] * 6 + [9000, 12_800], np.int32))
    trainer = train.program(
        config, train.W2vBertTrainConfig(mask_probability=0.04), optax.adam(5e-3, eps=1e-3)
    )
    state = fast_jit(trainer.init)(jax.random.key(0))
    step, evaluate = fast_jit(trainer.step), fast_jit(trainer.evaluate)

    def means(state):
        sums = evaluate(state, batch)
        return {name: float(sums.totals[name] / sums.counts[name]) for name in sums.totals}

    before = means(state)
    for i in range(60):
        state, _ = step(state, batch, jax.random.fold_in(jax.random.key(1), i))
    after = means(state)
    assert after["loss"] == after["masked_loss"] < before["masked_loss"] - 0.3
    assert after["code_perplexity"] == before["code_perplexity"] > 3


@pytest.mark.parametrize(("objective", "layers"), [("best_rq", 1), ("w2v_bert", 0)])
def test_contrastive_blocks_belong_to_w2v_bert(objective, layers):
    with pytest.raises(InputError, match=f"--model.contrastive-layers = {layers}"):
        W2vBertConfig(objective=objective, contrastive_layers=layers)


def test_a_collapsed_quantiser_is_told_from_one_in_use(tiny_config):
    config = dataclasses.replace(tiny_config, codebook_size=1000)
    trainer = train.program(config, train.W2vBertTrainConfig(), optax.sgd(0.1))
    assert trainer.verdict({"code_perplexity": 20.0}) is None
    reason = trainer.verdict({"code_perplexity": 19.94})
    assert "code_perplexity = 19.9, expected 20.0 or more" in reason
    never = train.W2vBertTrainConfig(least_code_use=0.0)
    assert train.program(config, never, optax.sgd(0.1)).verdict({"code_perplexity": 1.0}) is None
