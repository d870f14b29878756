"""Causal convolutions against lax with explicit padding, and causality by gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.nn.conv import (
    CausalConv,
    CausalDownsample,
    CausalUpsample,
    NormalDraws,
    convolve,
    same_padding,
)

LAYOUT = ("NHC", "HIO", "NHC")


def draws(seed=0):
    return NormalDraws(random(1000, seed=seed))


def random(*shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_downsample_equals_strided_convolution(stride):
    layer = CausalDownsample(3, 4, stride, draws=draws())
    x = random(2, 4 * stride, 3)
    expected = jax.lax.conv_general_dilated(
        x, layer.kernel[...], (stride,), [(stride, 0)], dimension_numbers=LAYOUT
    )
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_upsample_equals_transposed_convolution(stride):
    layer = CausalUpsample(3, 4, stride, draws=draws())
    x = random(2, 5, 3)
    full = np.zeros((2, 5 * stride + stride, 4))
    kernel = np.asarray(layer.kernel[...], np.float64)
    for n in range(5):
        full[:, n * stride : (n + 2) * stride] += np.einsum("bi,kio->bko", x[:, n], kernel)
    np.testing.assert_allclose(layer(x), full[:, : 5 * stride], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 3])
def test_convolution_reads_its_own_past_only(dilation):
    layer = CausalConv(2, 3, 3, dilation=dilation, draws=draws())
    x = random(1, 12, 2)
    influence = np.abs(jax.jacobian(lambda x: layer(x).sum(-1))(x)[0, :, 0]).sum(-1)
    offsets = np.arange(12)[:, None] - np.arange(12)[None]
    expected = np.isin(offsets, [0, dilation, 2 * dilation])
    np.testing.assert_array_equal(influence > 0, expected)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
@pytest.mark.parametrize(
    ("layer", "unit"),
    [
        (CausalConv(3, 4, 7, draws=draws()), 1),
        (CausalConv(3, 4, 3, dilation=9, draws=draws()), 1),
        (CausalConv(3, 4, 1, draws=draws()), 1),
        (CausalDownsample(3, 4, 5, draws=draws()), 5),
        (CausalUpsample(3, 4, 5, draws=draws()), 1),
    ],
    ids=["plain", "dilated", "pointwise", "down", "up"],
)
def test_chunks_with_state_equal_the_whole(layer, unit, seed):
    """Chunks shorter than the state among them; one that forgets it is wrong."""
    rng = np.random.default_rng(seed)
    layer.bias[...] = random(4)
    x = random(2, 40 * unit, 3)
    whole = np.asarray(layer(x))
    sizes = rng.permutation([1, 1, 1, 3, 3, 7, 7, 17])  # few of them: each is compiled
    cuts = np.cumsum(sizes)[:-1] * unit
    step = jax.jit(lambda chunk, state: layer.step(chunk, state))
    state = layer.initial_state(2)
    outputs, fresh = [], []
    for chunk in np.split(x, cuts, axis=1):
        fresh.append(step(chunk, layer.initial_state(2))[0])
        y, state = step(chunk, state)
        assert state.shape == layer.initial_state(2).shape
        outputs.append(y)
    np.testing.assert_allclose(np.concatenate(outputs, 1), whole, rtol=1e-5, atol=1e-5)
    if state.size:
        assert np.abs(np.concatenate(fresh, 1) - whole).max() > 0.1


def test_bias_and_shapes():
    x = jnp.zeros((2, 10, 3))
    for layer, frames in [
        (CausalConv(3, 4, 7, draws=draws()), 10),
        (CausalDownsample(3, 4, 5, draws=draws()), 2),
        (CausalUpsample(3, 4, 5, draws=draws()), 50),
    ]:
        layer.bias[...] = jnp.arange(4.0)
        np.testing.assert_array_equal(layer(x), np.broadcast_to(np.arange(4.0), (2, frames, 4)))


def test_partial_stride_is_refused():
    with pytest.raises(ValueError, match="11 frames are not a multiple of the stride 5"):
        CausalDownsample(3, 4, 5, draws=draws())(jnp.zeros((1, 11, 3)))


@pytest.mark.parametrize(
    ("sizes", "kernel", "strides"),
    [((13,), (5,), (3,)), ((16,), (3,), (4,)), ((9, 8), (3, 4), (1, 2)), ((7, 8), (4, 4), (2, 2))],
)
def test_convolve_and_its_gradients_equal_lax(sizes, kernel, strides):
    x, k = random(2, *sizes, 3), random(*kernel, 3, 4, seed=2)
    layout = LAYOUT if len(sizes) == 1 else ("NHWC", "HWIO", "NHWC")
    padding = same_padding(sizes, kernel, strides)

    def ours(x, k):
        return convolve(x, k, strides, padding)

    def reference(x, k):
        return jax.lax.conv_general_dilated(x, k, strides, "SAME", dimension_numbers=layout)

    def pulled_back(f):
        y, back = jax.vjp(f, x, k)
        return y, *back(jnp.cos(jnp.arange(y.size).reshape(y.shape)))

    for a, b in zip(jax.jit(lambda: pulled_back(ours))(), pulled_back(reference), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
