"""Shapes and layers of the discriminators, and the arithmetic of every loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.errors import InputError
from audiolm_jax.nn.conv import NormalDraws, initialize
from audiolm_jax.tokenizers.acoustic.soundstream.config import DiscriminatorConfig, LossConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import (
    DiscriminatorOutput,
    Discriminators,
    NormalizedConv,
    StftDiscriminator,
    WaveDiscriminator,
)
from audiolm_jax.tokenizers.acoustic.soundstream.losses import (
    discriminator_hinge,
    feature_distance,
    generator_hinge,
    mel_magnitudes,
    si_sdr_db,
    spectral_loss,
)

TINY = DiscriminatorConfig(
    wave_width=4, wave_max_width=16, stft_width=2, stft_window=256, stft_hop=64
)
WEIGHTS = LossConfig(spectral_windows=(64, 256), mel_bins=8)


measure = jax.jit(spectral_loss, static_argnums=(3, 4))
magnitudes = jax.jit(mel_magnitudes, static_argnums=(1, 2, 3))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_outputs():
    discriminate = jax.jit(
        lambda key, x: initialize(lambda draws: Discriminators(TINY, draws=draws), key)(x),
        compiler_options={"xla_backend_optimization_level": 0},
    )
    outputs = discriminate(jax.random.key(0), noise(2, 1024))
    # Time shrinks by 4^4 in each waveform discriminator, by 2^3 frames in the STFT one.
    assert [j.logits.shape for j in outputs] == [(2, 2), (2, 4), (2, 2), (2, 1)]
    stft, *waves = outputs
    assert [f.shape[1:] for f in stft.features] == [
        (16, 128, 2),
        (16, 64, 4),
        (8, 32, 8),
        (8, 16, 8),
        (4, 8, 16),
        (4, 4, 16),
        (2, 2, 32),
    ]
    for wave in waves:
        assert [f.shape[2] for f in wave.features] == [4, 16, 16, 16, 16, 16]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(outputs))


def test_paper_sizes():
    """Section III-D: MelGAN's stack at three scales, and the STFT discriminator with C = 32."""
    config, losses = DiscriminatorConfig(), LossConfig()

    def build(key):
        return initialize(lambda draws: Discriminators(config, draws=draws), key)

    key, samples = jax.random.key(0), jax.ShapeDtypeStruct((1, 16000), np.float32)
    outputs = jax.eval_shape(lambda key, x: build(key)(x), key, samples)
    model = nnx.eval_shape(lambda: build(key))
    stft, *waves = outputs
    assert [f.shape[1:] for f in stft.features] == [
        (63, 512, 32),
        (63, 256, 64),
        (32, 128, 128),
        (32, 64, 128),
        (16, 32, 256),
        (16, 16, 256),
        (8, 8, 512),
    ]
    assert [j.logits.shape for j in outputs] == [(1, 8), (1, 63), (1, 32), (1, 16)]
    for wave in waves:
        assert [f.shape[2] for f in wave.features] == [16, 64, 256, 1024, 1024, 1024]
    kernels = [layer.kernel.shape for layer in (*model.waves[0].layers, model.waves[0].last)]
    widths = (64, 256, 1024, 1024)
    grouped = [(41, 4, width) for width in widths]  # 4 channels in each of 4, 16, 64, 256 groups
    assert kernels == [(15, 1, 16), *grouped, (5, 1024, 1024), (3, 1024, 1)]
    assert [layer.groups for layer in model.waves[0].layers] == [1, 4, 16, 64, 256, 1]
    assert losses.spectral_windows == tuple(2**i for i in range(6, 12))
    assert losses.mel_bins == 64
    weights = (losses.adversarial_weight, losses.feature_weight, losses.spectral_weight)
    assert weights == (1, 100, 1)


def test_joined_groups_equal_grouped_convolution():
    def build(joined):
        draws = NormalDraws(jnp.asarray(noise(5000)))
        return NormalizedConv(16, 24, (7,), (4,), groups=4, joined_groups=joined, draws=draws)

    x = jnp.asarray(noise(2, 32, 16))
    for joined in (2, 4):
        np.testing.assert_allclose(build(joined)(x), build(1)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "joined"),
    [("grouped", [1] * 4), ("lane_blocks", [4, 16, 32, 32]), ("block_diagonal", [4, 16, 64, 256])],
)
def test_how_many_groups_are_joined(how, joined):
    config = DiscriminatorConfig(grouped_convolution=how)
    discriminate = nnx.eval_shape(lambda: WaveDiscriminator(config, 1, draws=NormalDraws(None)))
    assert [layer.joined_groups for layer in discriminate.layers] == [1, *joined, 1]


@pytest.mark.parametrize(("width", "folded"), [(2, 64), (3, 32), (32, 4), (200, 1)])
def test_how_many_bins_are_folded(width, folded):
    config = DiscriminatorConfig(stft_convolution="lane_blocks", stft_width=width)
    discriminate = nnx.eval_shape(lambda: StftDiscriminator(config, draws=NormalDraws(None)))
    assert discriminate.folded == folded
    of_blocks = [block.first.folded for block in discriminate.blocks]
    assert of_blocks == [max(folded // 2**i, 1) for i in range(6)]


@pytest.mark.slow  # a minute, most of it compilation
def test_folded_bins_equal_a_plain_convolution():
    """Of the STFT discriminator, logits, features and gradients in inputs and weights."""

    def judge(how):
        config = DiscriminatorConfig(
            stft_convolution=how, stft_width=6, stft_window=128, stft_hop=64,
        )  # fmt: skip
        structure, state = nnx.split(
            initialize(lambda draws: StftDiscriminator(config, draws=draws), jax.random.key(0))
        )

        def run(state, samples):
            given = nnx.merge(structure, state)(samples)
            return given.logits, [x.reshape(len(x), x.shape[1], -1) for x in given.features]

        given = run(state, samples)
        pull = jax.vjp(run, state, samples)[1]
        return given, pull(jax.tree.map(jnp.cos, given))

    samples = jnp.asarray(noise(2, 640))
    folded, plain = judge("lane_blocks"), judge("plain")
    for a, b in zip(*map(jax.tree.leaves, (folded, plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * float(np.abs(b).max()))


@pytest.mark.parametrize("normalization", ["weight", "layer"])
def test_normalized_layer_ignores_the_size_of_its_kernel(normalization):
    conv = NormalizedConv(
        3, 5, (3,), (1,), normalization=normalization, draws=NormalDraws(jnp.asarray(noise(100)))
    )
    x = jnp.asarray(noise(2, 8, 3))
    before = conv(x)
    conv.kernel[...] = 10 * conv.kernel[...]
    np.testing.assert_allclose(conv(x), before, rtol=1e-3, atol=1e-3)
    plain = NormalizedConv(3, 5, (3,), (1,), draws=NormalDraws(jnp.asarray(noise(100))))
    assert not np.allclose(plain(x), before, atol=0.1)


@pytest.mark.slow
def test_silence_does_not_blow_up_gradients():
    """Each normalized layer would multiply them by 1 / sqrt(epsilon)."""

    def steepest(key):
        discriminate = initialize(lambda draws: Discriminators(TINY, draws=draws), key)
        graphdef, params = nnx.split(discriminate)
        silence = jnp.zeros((1, 1024))
        gradient = jax.grad(lambda p: nnx.merge(graphdef, p)(silence)[0].logits.sum())(params)
        return jnp.stack([jnp.abs(x).max() for x in jax.tree.leaves(gradient)]).max()

    quick = {"xla_backend_optimization_level": 0}
    assert float(jax.jit(steepest, compiler_options=quick)(jax.random.key(0))) < 100


def discriminatement(logits, features=()):
    return DiscriminatorOutput(jnp.array(logits), [jnp.array(f) for f in features])


def test_hinge_numbers():
    real = [discriminatement([[2.0, 0.0]]), discriminatement([[0.5]])]
    fake = [discriminatement([[-2.0, 1.0]]), discriminatement([[-0.5]])]
    # (0 + 1) / 2 + (0 + 2) / 2 = 1.5 and 0.5 + 0.5 = 1.
    np.testing.assert_allclose(discriminator_hinge(real, fake), 1.25)
    # (3 + 0) / 2 and 1.5.
    np.testing.assert_allclose(generator_hinge(fake), 1.5)


def test_feature_distance_averages_layers_and_discriminators():
    real = [
        discriminatement([[0.0]], [[[1.0, 2.0]], [[0.0]]]),
        discriminatement([[0.0]], [[[4.0]]]),
    ]
    fake = [
        discriminatement([[0.0]], [[[2.0, 4.0]], [[3.0]]]),
        discriminatement([[0.0]], [[[4.0]]]),
    ]
    np.testing.assert_allclose(feature_distance(real, fake), ((1.5 + 3.0) / 2 + 0.0) / 2)


def test_spectral_loss_is_zero_only_at_equality_and_sees_scale():
    x = jnp.asarray(0.1 * noise(2, 1000))
    lengths = jnp.array([1000, 1000])
    loss = jax.jit(lambda y: spectral_loss(x, y, lengths, 8000, WEIGHTS))
    assert float(loss(x).max()) < 1e-3
    assert float(loss(2 * x).min()) > float(loss(1.1 * x).max()) > 0.1


def test_spectral_loss_matches_its_definition():
    x, y = 0.1 * noise(1, 900), 0.1 * noise(1, 900, seed=1)
    expected = []
    for window in WEIGHTS.spectral_windows:
        a, b = (np.asarray(magnitudes(v, 8000, window, 8), np.float64) for v in (x, y))
        logs = np.log(a + 1e-5) - np.log(b + 1e-5)
        frame = np.abs(a - b).sum(-1) + np.sqrt(window / 2) * np.sqrt((logs**2).sum(-1))
        expected.append(frame[0])
    length = np.array([900])
    mean = measure(x, y, length, 8000, WEIGHTS)
    np.testing.assert_allclose(mean[0], np.mean([f.mean() for f in expected]), rtol=1e-4)
    summed = dataclasses.replace(WEIGHTS, spectral_reduction="sum")
    total = measure(x, y, length, 8000, summed)
    np.testing.assert_allclose(total[0], sum(f.sum() for f in expected), rtol=1e-4)


def test_spectral_loss_of_a_padded_clip_is_that_of_the_clip():
    x, y = 0.1 * noise(1, 512), 0.1 * noise(1, 512, seed=1)
    alone = measure(x, y, np.array([512]), 8000, WEIGHTS)
    wide = [np.pad(v, ((0, 0), (0, 700))) for v in (x, y)]
    padded = measure(*wide, np.array([512]), 8000, WEIGHTS)
    np.testing.assert_allclose(alone, padded, rtol=1e-5)


def test_spectral_gradient_is_finite_on_silence():
    silence = jnp.zeros((1, 512))

    @jax.jit
    @jax.grad
    def gradient(y):
        return spectral_loss(silence, y, jnp.array([512]), 8000, WEIGHTS).sum()

    assert np.isfinite(gradient(silence)).all()


def test_si_sdr_numbers():
    target = noise(1, 4000)
    error = noise(1, 4000, seed=1)
    error -= target * (target * error).sum() / (target**2).sum()
    error *= 0.1 * np.linalg.norm(target) / np.linalg.norm(error)
    padded = [np.pad(v, ((0, 0), (0, 50)), constant_values=np.nan) for v in (target, error)]
    lengths = jnp.array([4000])
    target, error, *padded = (jnp.asarray(x) for x in (target, error, *padded))
    np.testing.assert_allclose(si_sdr_db(target, target + error, lengths), 20, atol=0.1)
    np.testing.assert_allclose(si_sdr_db(target, 3 * (target + error) + 1, lengths), 20, atol=0.1)
    np.testing.assert_allclose(si_sdr_db(padded[0], sum(padded), lengths), 20, atol=0.1)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (TINY, {"wave_width": 6}),
        (TINY, {"wave_scales": (3,)}),
        (TINY, {"stft_window": 100}),
        (TINY, {"stft_hop": 0}),
        (WEIGHTS, {"feature_weight": -1.0}),
        (WEIGHTS, {"spectral_windows": ()}),
        (WEIGHTS, {"log_floor": 0.0}),
    ],
)
def test_bad_config_is_refused(config, changes):
    with pytest.raises(InputError, match=f"\\.{next(iter(changes)).replace('_', '-')} = "):
        dataclasses.replace(config, **changes)
