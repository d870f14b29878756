"""Sizes, reach and padding of the network, against the description (AudioLM IV-D) by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.classifiers.config import ClassifierConfig
from audiolm_jax.classifiers.network import (
    Classifier,
    cells,
    empty_moments,
    features,
    halve,
    moments_of,
)
from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import NormalDraws, initialize
from audiolm_jax.nn.state_arrays import flatten_shapes

PAPER = ClassifierConfig(classes=("real", "generated"))
TINY = dataclasses.replace(PAPER, channels=(3, 5, 5))


def build(config):
    return initialize(lambda draws: Classifier(config, draws=draws), jax.random.key(0))


def test_the_papers_network_has_the_parameters_of_its_description():
    abstract = nnx.eval_shape(lambda: Classifier(PAPER, draws=NormalDraws(None)))
    sizes = {n: int(np.prod(s)) for n, s in flatten_shapes(nnx.state(abstract, nnx.Param)).items()}
    # 3 x in x out along time, 3 x out x out along frequency; bias, scale and offset of both.
    blocks = {
        0: 3 * 1 * 64 + 3 * 64 * 64 + 6 * 64,  # 12,864
        1: 3 * 64 * 128 + 3 * 128 * 128 + 6 * 128,  # 74,496
        2: 3 * 128 * 256 + 3 * 256 * 256 + 6 * 256,  # 296,448
        3: 3 * 256 * 256 + 3 * 256 * 256 + 6 * 256,  # 394,752
        4: 3 * 256 * 512 + 3 * 512 * 512 + 6 * 512,  # 1,182,720
        5: 3 * 512 * 512 + 3 * 512 * 512 + 6 * 512,  # 1,575,936
    }
    for number, expected in blocks.items():
        found = sum(size for name, size in sizes.items() if name.startswith(f"blocks.{number}."))
        assert found == expected, number
    assert sum(sizes.values()) == sum(blocks.values()) + 512 * 2 + 2 == 3_538_242
    moments = empty_moments(PAPER)
    assert sum(x.size for x in jax.tree.leaves(moments)) == 4 * (64 + 128 + 2 * 256 + 2 * 512)


def test_a_second_is_pooled_three_times():
    assert PAPER.is_pooled == (False, True, True, False, True, False)
    network = nnx.eval_shape(lambda: Classifier(PAPER, draws=NormalDraws(None)))
    graphdef, params = nnx.split(network)

    def run(params, samples, lengths):
        mel, frames = features(samples, lengths, PAPER)
        assert mel.shape == (2, 100, 64)
        network = nnx.merge(graphdef, params)
        return cells(network, mel, frames)[0], network(samples, lengths).logits

    arguments = jnp.zeros((2, 16000)), jnp.full(2, 16000)
    last, logits = jax.eval_shape(run, params, *arguments)
    assert last.shape == (2, 13, 8, 512)  # 100, 50, 25, 13 frames; 64, 32, 16, 8 bands
    assert logits.shape == (2, 2)


# Frames (and bands) that a cell sees behind each block: a convolution adds 2 x stride, a pool 1 x
# stride and doubles it. 3 | +1 +4 = 8 | +2 +8 = 18 | +8 = 26 | +4 +16 = 46 | +16 = 62.
REACH = [3, 8, 18, 26, 46, 62]
STRIDE = [1, 2, 4, 4, 8, 8]


@pytest.mark.parametrize(
    "blocks", [1, 2, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 5, 6))]
)
def test_reach_grows_block_by_block(blocks):
    """Of the paper's pooling with two channels less wide; frames of a cell, by its gradient."""
    widths = tuple(c // 64 for c in PAPER.channels)
    config = dataclasses.replace(PAPER, channels=widths[:blocks])
    network = build(config)
    # Positive weights: no maximum, ReLU or sum can hide a frame for good.
    graphdef, params = nnx.split(network, nnx.Param)
    network = nnx.merge(graphdef, jax.tree.map(lambda x: jnp.abs(x) + 0.1, params))
    moments = empty_moments(config)
    size = 128
    draws = np.random.default_rng(0).uniform(0.5, 1.5, (12, size, size)).astype(np.float32)
    cell = size // STRIDE[blocks - 1] // 2

    def of_cell(mel):
        return cells(network, mel, jnp.full(len(mel), size), moments)[0][:, cell, cell].sum()

    # Which of each pool's four wins is chance: over some draws each of them does.
    seen = np.abs(jax.jit(jax.grad(of_cell))(draws)).sum(0) > 0
    for axis in (0, 1):
        places = np.flatnonzero(seen.any(1 - axis))
        assert places[-1] - places[0] + 1 == REACH[blocks - 1]


@pytest.mark.slow
def test_padding_changes_nothing_even_nan():
    network, rng = build(TINY), np.random.default_rng(1)
    samples = rng.normal(0, 0.1, (3, 16000)).astype(np.float32)
    lengths = np.array([16000, 7777, 0], np.int32)
    moments = {
        name: {"mean": m["mean"] + 0.3, "variance": m["variance"] * 2}
        for name, m in empty_moments(TINY).items()
    }
    run = jax.jit(network)
    whole = np.asarray(run(samples, lengths, moments).logits)
    spoilt = samples.copy()
    spoilt[1, 7777:] = np.nan
    spoilt[2] = np.inf
    np.testing.assert_array_equal(run(spoilt, lengths, moments).logits, whole)
    alone = run(samples[1:2, :7777], lengths[1:2], moments).logits
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-4, atol=1e-5)
    # Nor does it count in the moments of a batch.
    ours = run(spoilt, lengths).moments
    theirs = run(samples[:2], lengths[:2]).moments
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_moments_by_hand():
    x = np.zeros((2, 3, 2, 1), np.float32)
    x[0, 0, :, 0], x[0, 1, :, 0], x[1, 0, :, 0] = (1, 2), (3, 4), (5, 9)
    x[0, 2], x[1, 1:] = 100, -100
    valid = np.array([[True, True, False], [True, False, False]])
    moments = moments_of(jnp.asarray(x), jnp.asarray(valid))
    assert float(moments["mean"][0]) == 4  # of 1 2 3 4 5 9
    assert float(moments["variance"][0]) == pytest.approx((9 + 4 + 1 + 0 + 1 + 25) / 6)


def test_an_odd_edge_is_a_cell_of_its_own():
    x = np.arange(-15, 0, dtype=np.float32).reshape(1, 5, 3, 1)
    halved = halve(jnp.asarray(x), jnp.ones((1, 5), bool))[0, :, :, 0]
    np.testing.assert_array_equal(halved, [[-11, -10], [-5, -4], [-2, -1]])
    cut = halve(jnp.asarray(x), jnp.array([[True, True, True, False, False]]))[0, :, :, 0]
    np.testing.assert_array_equal(cut[:2], [[-11, -10], [-8, -7]])


def test_silence_is_zero_and_loud_sound_is_not():
    mel, _ = features(jnp.zeros((1, 1600)), jnp.array([1600]), PAPER)
    assert float(jnp.abs(mel).max()) == 0
    mel, _ = features(jnp.ones((1, 1600)), jnp.array([1600]), PAPER)
    assert float(mel.max()) > 5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"channels": ()}, "--model.channels = ()"),
        ({"classes": ("one",)}, "--model.classes = ('one',): expected two or more"),
        ({"classes": ("a", "b", "a")}, "each once"),
        ({"label": " "}, "--model.label"),
        ({"mel_window_samples": 100}, "--model.mel-window-samples = 100: expected at least"),
        ({"mel_fft_size": 256}, "--model.mel-fft-size = 256: expected at least the window"),
    ],
)
def test_bad_sizes_are_named(fields, words):
    with pytest.raises(InputError) as error:
        dataclasses.replace(PAPER, **fields)
    assert words in str(error.value)


def test_without_classes_there_is_no_network():
    with pytest.raises(InputError, match=r"--model\.classes \(\): name them"):
        build(ClassifierConfig())
