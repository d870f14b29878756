import dataclasses

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.lm.flops import model_flops
from audiolm_jax.lm.train import program
from audiolm_jax.nn import attention
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.flops import count_flops
from audiolm_jax.types import TokenBatch

CONFIG = StageModelConfig(
    StageConfig("coarse", semantic_clusters=9, codebook_size=5, coarse_levels=2, crop_seconds=1.0),
    DecoderConfig(layers=2, heads=3, head_width=4, width=10, ff_width=16),
)


def test_flops_are_six_a_weight_and_token_and_half_the_scores():
    length = CONFIG.stage.max_tokens - 1
    shapes = nnx.eval_shape(lambda: nnx.state(make_decoder(CONFIG, jax.random.key(0))))
    weights = sum(a.size for a in jax.tree.leaves(shapes["layers"]) if a.ndim > 2)
    weights += shapes["output"]["kernel"].size
    scores = 12 * 2 * 3 * 4 * length**2 / 2
    assert model_flops(CONFIG, 7) == 7 * (6 * weights * length + scores)


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_a_legal_softmax_needs_the_outputs_of_one_level_at_the_targets_alone(name):
    stage = dataclasses.replace(CONFIG.stage, name=name, levels=5)
    config = dataclasses.replace(CONFIG, stage=stage)
    saved = model_flops(config, 1) - model_flops(config, 1, "legal")
    needed = {"semantic": 25 * 9, "coarse": 50 * 2 * 5, "fine": 50 * 3 * 5}[name]
    assert saved == pytest.approx(6 * 10 * ((stage.max_tokens - 1) * stage.vocab_size - needed))


@pytest.mark.parametrize("change", [{"remat": "full"}, {"tied_embeddings": True}, {"dropout": 0.0}])
def test_what_is_not_model_work_does_not_count(change):
    decoder = dataclasses.replace(CONFIG.decoder, **change)
    assert model_flops(dataclasses.replace(CONFIG, decoder=decoder), 7) == model_flops(CONFIG, 7)


def test_the_traced_step_multiplies_that_much_and_the_masked_half(monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", 10_000)  # one block: masked scores are made
    length = CONFIG.stage.max_tokens - 1
    ids = jax.ShapeDtypeStruct((7, length), np.int32)
    weights = jax.ShapeDtypeStruct((7, length), np.float32)
    trainer = program(CONFIG, StageTrainConfig(), optax.sgd(1.0))
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    batch = TokenBatch(ids, ids, weights, ids)
    counted = count_flops(trainer.step, state, batch, jax.random.key(0))
    scores = 7 * 2 * 2 * 3 * 4 * length**2  # one product of all queries and keys
    of_bias = 2 * 2 * 7 * 3 * length**2  # its gradient is summed over the batch as a product
    # Six products, of which half are masked; and the backward pass makes the scores once more.
    assert counted == model_flops(CONFIG, 7) + 3 * scores + scores + of_bias
