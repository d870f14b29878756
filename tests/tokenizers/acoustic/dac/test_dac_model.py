"""The numerics of the codec against a literal definition in numpy, on recordings of any length.

The definition pads, strides and spreads as the published model says, over the whole recording at
once, without windows, masks or causal convolutions.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.dac_files import random_arrays
from support.tiny_codecs import DAC as CONFIG

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.dac.config import DILATIONS, DacConfig
from audiolm_jax.tokenizers.acoustic.dac.layers import sine_squared
from audiolm_jax.tokenizers.acoustic.schedule import group_windows, plan_windows
from audiolm_jax.types import AcousticTokens, AudioBatch

HOP = CONFIG.hop_samples
WINDOW = 48


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(CONFIG)


@pytest.fixture(scope="module")
def codec(arrays):
    return DacCodec(CONFIG, arrays, "0" * 64, window_frames=WINDOW)


def convolve(x, kernel, bias, stride=1, dilation=1, pad=0):
    """x [t, i], kernel [k, i, o] -> [n, o]: zeros on both sides, then a sum over the taps."""
    x = np.pad(x, ((pad, pad), (0, 0)))
    outputs = (len(x) - dilation * (len(kernel) - 1) - 1) // stride + 1
    taps = [x[k * dilation :][: outputs * stride : stride] @ w for k, w in enumerate(kernel)]
    return sum(t[:outputs] for t in taps) + bias


def convolve_transposed(x, kernel, bias, stride, pad):
    """Each input spread over the outputs that it reaches; `pad` of them cut off at either end."""
    out = np.zeros(((len(x) - 1) * stride + len(kernel), kernel.shape[2]))
    for n, row in enumerate(x):
        out[n * stride : n * stride + len(kernel)] += row @ kernel
    return out[pad : len(out) - pad] + bias


class Reference:
    """The codec in float64 on one recording."""

    def __init__(self, config, arrays):
        self.config = config
        self.arrays = {name: x.astype(np.float64) for name, x in arrays.items()}

    def conv(self, name, x, **options):
        weights = (self.arrays[f"{name}.kernel"], self.arrays[f"{name}.bias"])
        if "transposed" in options:
            return convolve_transposed(x, *weights, options["transposed"], options["pad"])
        return convolve(x, *weights, **options)

    def snake(self, name, x):
        alpha = self.arrays[f"{name}.alpha"]
        return x + np.sin(alpha * x) ** 2 / (alpha + 1e-9)

    def units(self, name, x):
        for i, d in enumerate(DILATIONS):
            unit = f"{name}.units.{i}"
            y = self.snake(f"{unit}.snake1", x)
            y = self.conv(f"{unit}.dilated.causal", y, dilation=d, pad=3 * d)
            x = x + self.conv(f"{unit}.pointwise", self.snake(f"{unit}.snake2", y))
        return x

    def latents(self, samples):
        samples = np.pad(samples, (0, -len(samples) % self.config.hop_samples))
        x = self.conv("encoder.first.causal", samples[:, None].astype(np.float64), pad=3)
        for i, s in enumerate(self.config.strides):
            x = self.snake(f"encoder.stages.{i}.snake", self.units(f"encoder.stages.{i}", x))
            x = self.conv(f"encoder.stages.{i}.down.causal", x, stride=s, pad=(s + 1) // 2)
        return self.conv("encoder.last.causal", self.snake("encoder.snake", x), pad=1)

    def encode(self, samples):
        residual, codes = self.latents(samples), []
        for q in range(self.config.levels):
            p = {
                k: self.arrays[f"quantizer.{k}"][q]
                for k in ("in_kernel", "in_bias", "codebooks", "out_kernel", "out_bias")
            }
            narrow = residual @ p["in_kernel"] + p["in_bias"]
            unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (narrow, p["codebooks"])]
            codes.append(np.square(unit[0][:, None] - unit[1][None]).sum(2).argmin(1))
            residual = residual - p["codebooks"][codes[-1]] @ p["out_kernel"] - p["out_bias"]
        return np.stack(codes, 1)

    def decode(self, codes):
        names = ("codebooks", "out_kernel", "out_bias")
        x = sum(
            vectors[column] @ kernel + bias
            for column, vectors, kernel, bias in zip(
                codes.T, *(self.arrays[f"quantizer.{name}"] for name in names), strict=False
            )
        )
        x = self.conv("decoder.first.causal", x, pad=3)
        for i, s in enumerate(reversed(self.config.strides)):
            x = self.snake(f"decoder.stages.{i}.snake", x)
            x = self.conv(f"decoder.stages.{i}.up.causal", x, transposed=s, pad=(s + 1) // 2)
            x = self.units(f"decoder.stages.{i}", x)
        return np.tanh(self.conv("decoder.last.causal", self.snake("decoder.snake", x), pad=3))[
            :, 0
        ]


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, samples).astype(np.float32)


def pack(clips, width, pad=np.nan):
    samples = np.full((len(clips), width), pad, np.float32)
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = clip
    return AudioBatch(samples, np.array([len(c) for c in clips], np.int32))


# Shorter than a layer's reach; exactly and not exactly whole frames; several windows with context.
SIZES = [0, 1, 3, HOP, 2 * HOP + 1, 11 * HOP, 12 * HOP, 48 * HOP - 2, 171 * HOP + 7]


@pytest.fixture(scope="module")
def clips():
    return [noise(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def encoded(codec, clips):
    """All clips in one batch, NaN behind each."""
    return codec.encode(pack(clips, max(SIZES) + 5))


def test_codes_are_those_of_the_definition(arrays, clips, encoded):
    reference = Reference(CONFIG, arrays)
    equal = []
    for clip, codes, frames in zip(clips, encoded.codes, encoded.lengths, strict=True):
        assert frames == -(-len(clip) // HOP)
        assert not codes[frames:].any()
        if frames:
            equal.append((reference.encode(clip) == codes[:frames]).ravel())
    equal = np.concatenate(equal)
    assert equal.mean() >= 0.999, (equal.mean(), equal.size)
    assert len(np.unique(encoded.codes)) == CONFIG.codebook_size


@pytest.mark.parametrize("levels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_samples_are_those_of_the_definition(codec, arrays, encoded, levels):
    reference = Reference(CONFIG, arrays)
    outside = np.arange(encoded.codes.shape[1])[None, :, None] >= encoded.lengths[:, None, None]
    hostile = np.where(outside, 10**6, encoded.codes)[..., :levels]
    audio = codec.decode(AcousticTokens(hostile, encoded.lengths))
    np.testing.assert_array_equal(audio.lengths, encoded.lengths * HOP)
    loudest = 0.0
    for codes, samples, frames in zip(encoded.codes, audio.samples, encoded.lengths, strict=True):
        expected = reference.decode(codes[:frames, :levels]) if frames else np.zeros(0)
        if frames:
            assert len(expected) == frames * HOP - CONFIG.decoder_shortfall
            loudest = max(loudest, np.abs(expected).max())
        np.testing.assert_allclose(samples[: len(expected)], expected, atol=3e-5)
        assert not samples[len(expected) :].any()
    assert loudest > 0.1


@pytest.mark.slow
def test_windows_give_the_whole_recording(codec, arrays, clips, encoded):
    whole = DacCodec(CONFIG, arrays, "0" * 64, window_frames=4 * WINDOW)
    alone = whole.encode(pack(clips[-1:], SIZES[-1]))
    np.testing.assert_array_equal(alone.codes[0], encoded.codes[-1, : alone.lengths[0]])
    np.testing.assert_allclose(
        whole.decode(alone).samples[0],
        codec.decode(encoded).samples[-1, : alone.lengths[0] * HOP],
        atol=3e-5,
    )


@pytest.mark.parametrize(
    "strides", [(3,), *(pytest.param(x, marks=pytest.mark.slow) for x in ((2, 5), (2, 4, 5, 8)))]
)
def test_context_is_the_reach_of_the_layers(strides):
    """By the definition: nothing beyond the context matters, and something at its edge does."""
    config = DacConfig(1, strides, 1, 2 ** len(strides), 1, 1, 2, 1)
    # Silence gives zero, and what is added is positive: whatever is reached is not zero.
    arrays = {
        name: np.full(x.shape, 0.0 if name.endswith("bias") else 0.1)
        for name, x in random_arrays(config).items()
    }
    arrays["quantizer.codebooks"] = np.array([[[0.0], [1.0]]])
    reference = Reference(config, arrays)
    context, hop = (config.encoder_context, config.decoder_context), config.hop_samples
    frames = 2 * max(context) + 9
    middle = frames // 2

    reached = []
    for at in (middle * hop, (middle + 1) * hop - 1):
        clip = np.zeros(frames * hop)
        clip[at] = 1.0
        reached.append(np.nonzero(reference.latents(clip).any(1))[0] - middle)
    assert context[0] - 1 <= max(np.abs(np.concatenate(reached))) <= context[0]

    codes = np.zeros((frames, 1), int)
    codes[middle] = 1
    reached = np.nonzero(reference.decode(codes))[0] // hop - middle
    assert context[1] - 1 <= max(np.abs(reached)) <= context[1]


def test_windows_cover_each_frame_once_with_context():
    for frames, context in itertools.product([0, 1, 12, 13, 48, 49, 200, 201], [1, 9, 23]):
        windows = plan_windows(0, frames, context, 48)
        assert [w.first for w in windows] == [0, *(w.stop for w in windows)][: len(windows)]
        assert frames == (windows[-1].stop if windows else 0)
        for w in windows:
            assert w.size in (12, 24, 48)
            assert w.start == 0 or w.first - w.start >= context
            assert w.start + w.size >= min(frames, w.stop + context)
    many = [w for row in range(9) for w in plan_windows(row, 13, 2, 48)]
    assert [len(group) for group in group_windows(many, 48)] == [2, 2, 2, 2, 1]


def test_published_sizes():
    config = DacConfig()
    assert (config.hop_samples, config.decoder_shortfall) == (320, 8)
    assert config.encoder_widths[-1] == 1024
    assert config.decoder_widths[-1] == 96
    assert DacConfig(44100, (2, 4, 8, 8), levels=9).decoder_shortfall == 0
    for wrong, field in (
        ({"strides": ()}, "strides"),
        ({"strides": (2, 0)}, "strides"),
        ({"sample_rate_hz": 0}, "sample_rate_hz"),
        ({"decoder_width": 100}, "decoder_width"),
    ):
        with pytest.raises(InputError, match=rf"^{field} = "):
            DacConfig(**wrong)


def test_squared_sine():
    y = np.concatenate([np.linspace(-30, 30, 100_001), [1e3, -5e3, 9999.0, 0.0]]).astype(np.float32)
    error = np.abs(np.asarray(jax.jit(sine_squared)(y)) - np.sin(y.astype(np.float64)) ** 2)
    assert error.max() < 4e-7
    assert sine_squared(jnp.zeros(1))[0] == 0


def test_a_window_smaller_than_its_context_is_refused(arrays):
    with pytest.raises(InputError, match=r"window_frames = 32.*context of 17"):
        DacCodec(CONFIG, arrays, "0", window_frames=32)


def test_latents_are_what_the_decoder_gets(codec, arrays):
    codes = np.random.default_rng(0).integers(0, CONFIG.codebook_size, (7, 2))
    parts = ("codebooks", "out_kernel", "out_bias")
    book, kernel, bias = (arrays[f"quantizer.{name}"] for name in parts)
    expected = sum(book[n][codes[:, n]] @ kernel[n] + bias[n] for n in range(2))
    np.testing.assert_allclose(codec.latents(codes), expected, rtol=1e-5, atol=1e-6)
