import functools

import jax
import optax
import pytest
from flax import nnx

from audiolm_jax.tokenizers.semantic.w2v_bert import train
from audiolm_jax.tokenizers.semantic.w2v_bert.config import ConformerConfig, W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert


@pytest.fixture(scope="session")
def fast_jit():
    """`jax.jit` that compiles in half the time: these programs run for milliseconds."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="session")
def tiny_config():
    conformer = ConformerConfig(width=8, heads=2, ff_width=16, dropout=0.1, remat="none")
    return W2vBertConfig(
        mel_bins=10,
        subsample_channels=4,
        contrastive_layers=1,
        masked_layers=2,
        codebook_size=6,
        code_width=5,
        conformer=conformer,
    )


@pytest.fixture(scope="session")
def graphdef(tiny_config):
    return nnx.graphdef(nnx.eval_shape(lambda: W2vBert(tiny_config, rngs=nnx.Rngs(params=0))))


@pytest.fixture(scope="session")
def trainer(tiny_config):
    # A large eps keeps Adam from blowing up rounding of gradients near zero.
    config = train.W2vBertTrainConfig(distractors=7, gumbel_temperature_decay=0.99)
    return train.program(tiny_config, config, optax.adam(5e-3, eps=1e-3))


@pytest.fixture(scope="session")
def initial_state(trainer, fast_jit):
    return fast_jit(trainer.init)(jax.random.key(0))
