"""No training step in bfloat16 adds up many bfloat16 numbers: such a sum stands still where the
next number is less than half a unit of it."""

import jax
import numpy as np
import optax
import pytest

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.train import program as lm_program
from audiolm_jax.stages import StageConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.train import program as encoder_program
from audiolm_jax.types import AudioBatch, TokenBatch

SUMS = {"reduce_sum", "scatter-add", "cumsum", "reduce_window_sum"}


def language_model():
    stage = StageConfig("coarse", 8, 4, levels=4, coarse_levels=2, crop_seconds=0.2)
    decoder = DecoderConfig(2, 2, 8, 16, 16, compute_dtype="bfloat16", qk_norm=True)
    shape = (2, stage.max_tokens - 1)
    ids, weights = (jax.ShapeDtypeStruct(shape, dtype) for dtype in (np.int32, np.float32))
    trainer = lm_program(StageModelConfig(stage, decoder), StageTrainConfig(), optax.sgd(1.0))
    return trainer, TokenBatch(ids, ids, weights, ids)


def encoder():
    conformer = ConformerConfig(8, 2, 16, 3, compute_dtype="bfloat16")
    config = W2vBertConfig(
        mel_bins=8, subsample_channels=4, contrastive_layers=1, masked_layers=1, codebook_size=8,
        code_width=4, conformer=conformer,
    )  # fmt: skip
    samples = jax.ShapeDtypeStruct((2, 8000), np.float32)
    trainer = encoder_program(config, W2vBertTrainConfig(), optax.sgd(1.0))
    return trainer, AudioBatch(samples, jax.ShapeDtypeStruct((2,), np.int32))


@pytest.mark.parametrize("make", [language_model, encoder])
def test_no_sum_of_many_narrow_numbers(make):
    trainer, batch = make()
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    traced = jax.make_jaxpr(trainer.step)(state, batch, jax.random.key(0))
    operations = list(every_operation(traced.jaxpr))
    narrow = [eqn for eqn in operations if str(eqn.invars[0].aval.dtype) == "bfloat16"]
    assert any(eqn.primitive.name == "dot_general" for eqn in narrow)
    assert not [eqn for eqn in narrow if eqn.primitive.name in SUMS]


def every_operation(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.invars:
            yield eqn
        for value in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from every_operation(inner)
