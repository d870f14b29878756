"""Causality and receptive field by gradient, the published size, and refused configs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig, SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    build_generator,
)

TINY = SoundStreamConfig(
    sample_rate_hz=1600, channels=2, width_multipliers=(1, 2, 4), strides=(2, 4), embedding_width=3
)
FRAMES = 12


@pytest.fixture(scope="module")
def model():
    return jax.jit(lambda key: build_generator(TINY, key))(jax.random.key(0))


def influence(function, x):
    """|d output[i] / d input[j]| summed over channels: [outputs, inputs]."""
    jacobian = np.abs(np.asarray(jax.jit(jax.jacobian(function))(x)))
    outputs = jacobian.ndim - x.ndim
    if outputs == 2:
        jacobian = jacobian.sum(1)
    return jacobian.reshape(len(jacobian), len(x), -1).sum(-1)


def test_encoder_frame_reads_no_later_sample(model):
    hop = TINY.hop_samples
    x = jax.random.normal(jax.random.key(1), (FRAMES * hop,))
    table = influence(lambda x: model.encoder(x[None])[0], x)
    for frame in range(FRAMES):
        end = (frame + 1) * hop
        assert not table[frame, end:].any()
        assert table[frame, end - hop : end].all()  # all of its own samples
    assert table[-1, : 5 * hop].any()  # and far into its past


def test_encoder_frame_reads_its_receptive_field_and_nothing_else(model):
    """The gradient is nonzero at its first and last sample and zero beyond either."""
    hop, field = TINY.hop_samples, TINY.receptive_field_samples
    frame = -(-field // hop) + 3
    x = jax.random.normal(jax.random.key(1), ((frame + 3) * hop,))
    gradient = jax.jit(jax.grad(lambda x: model.encoder(x[None])[0, frame].sum()))(x)
    read = np.flatnonzero(gradient)
    end = (frame + 1) * hop
    assert (read[0], read[-1]) == (end - field, end - 1)


def test_decoder_sample_reads_no_later_frame(model):
    hop = TINY.hop_samples
    z = jax.random.normal(jax.random.key(1), (FRAMES, 3))
    table = influence(lambda z: model.decoder(z[None])[0], z)
    for sample in range(FRAMES * hop):
        frame = sample // hop
        assert not table[sample, frame + 1 :].any()
        assert table[sample, frame] > 0
    assert table[-1, FRAMES - 4] > 0


def test_paper_size():
    """Section V-A gives 8.4M parameters for C = 32, which D = 256 and halved units explain."""
    config = SoundStreamConfig()
    state = nnx.state(nnx.eval_shape(lambda: build_generator(config, jax.random.key(0))))
    count = sum(x.size for x in jax.tree.leaves(state))
    assert round(count / 1e6, 1) == 8.4
    assert (config.hop_samples, config.frame_rate_hz) == (320, 50)
    assert config.widths == (32, 64, 128, 256, 512)
    assert config.receptive_field_samples == 5314  # 0.33 s


def test_frame_counts(model):
    samples = jnp.zeros((2, 5 * TINY.hop_samples))
    assert model.encoder(samples).shape == (2, 5, 3)
    assert model.decoder(jnp.zeros((2, 5, 3))).shape == (2, 5 * TINY.hop_samples)


def test_config_survives_json():
    fields = json.loads(json.dumps(config_to_dict(TINY)))
    assert config_from_dict(SoundStreamConfig, fields, "test") == TINY


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, "--model.channels = 0: expected 1 or more"),
        ({"strides": (2, 4, 5)}, "one more than --model.strides"),
        ({"strides": (3, 7)}, "a product that divides --model.sample-rate-hz = 1600, not 21"),
        ({"channels": 3}, "--model.residual-reduction = 2"),
        ({"dilations": ()}, "dilations"),
    ],
)
def test_bad_config_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"levels": 0}, {"decay": 1.0}, {"revival_threshold": -1.0}, {"codebook_size": 0}],
)
def test_bad_quantizer_is_refused(changes):
    flag = "--model.quantizer." + next(iter(changes)).replace("_", "-")
    with pytest.raises(InputError, match=f"^{flag} = "):
        dataclasses.replace(QuantizerConfig(), **changes)
