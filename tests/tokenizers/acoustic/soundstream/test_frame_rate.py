"""The frame-rate network: exact windows, causality and training; streams are in the contract."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_codecs import CODECS, LOOKAHEAD
from support.tiny_codecs import FRAME_RATE as CONFIG

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    LossConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.losses import complex_distance
from audiolm_jax.tokenizers.acoustic.soundstream.model import (
    CODEBOOKS,
    Encoder,
    build_generator,
)
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import empty_codebooks
from audiolm_jax.tokenizers.acoustic.soundstream.short_time import (
    analysis_matrix,
    overlap_add,
    synthesis_matrix,
    windows_ending_with_cells,
)
from audiolm_jax.tokenizers.acoustic.soundstream.train import program, roundtrip
from audiolm_jax.training.config import OptimizerConfig
from audiolm_jax.training.optim import make_optimizer
from audiolm_jax.types import AudioBatch

HOP = CONFIG.hop_samples
QUICK = {"xla_backend_optimization_level": 0}  # a GAN step compiles into a thousand kernels


def build(config, seed=0):
    return jax.jit(lambda key: build_generator(config, key))(jax.random.key(seed))


@pytest.fixture(scope="module")
def model():
    return build(CONFIG)


@pytest.mark.parametrize("seed", range(6))
def test_analysis_and_synthesis_are_the_fourier_transform(seed):
    """Against numpy's; and the windows of all cells add up to 1."""
    rng = np.random.default_rng(seed)
    cell, overlap, cells = (int(rng.integers(*span)) for span in ((1, 9), (2, 6), (6, 12)))
    cell *= 2
    size = cell * overlap
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    x = rng.normal(size=size)
    real, imaginary = np.split(x @ analysis_matrix(size), 2)
    expected = np.fft.rfft(x * window) * 2 / size
    np.testing.assert_allclose(real + 1j * imaginary, expected, atol=1e-5)

    spectrum = rng.normal(size=(2, size // 2 + 1))
    signal = np.fft.irfft(spectrum[0] + 1j * spectrum[1], size) * size
    signal *= window / overlap
    matrix = synthesis_matrix(size, cell)
    np.testing.assert_allclose(spectrum.reshape(-1) @ matrix, signal, atol=1e-4)

    flat = np.zeros(size + 2, np.float32)
    flat[0] = 2.0  # the lowest band counts half
    windows = np.tile(flat @ matrix, (1, cells, 1))
    total, tail = overlap_add(jnp.asarray(windows), jnp.zeros((1, size - cell)))
    assert (total.shape, tail.shape) == ((1, cells * cell), (1, size - cell))
    np.testing.assert_allclose(total[0, size - cell :], 1.0, atol=1e-5)


def test_a_window_ends_with_its_cell():
    x = jnp.arange(12.0)[None]
    windows, past = windows_ending_with_cells(x, jnp.zeros((1, 4)), 2, 6)
    np.testing.assert_array_equal(windows[0, 0], [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(windows[0, -1], [6, 7, 8, 9, 10, 11])
    np.testing.assert_array_equal(past[0], [8, 9, 10, 11])


@pytest.mark.parametrize("changes", [{}, {"cells": 4, "analysis_overlap": 1}, {"kernel_size": 1}])
def test_encoder_reads_its_receptive_field_and_nothing_else(changes):
    config = dataclasses.replace(
        CONFIG, frame_rate=dataclasses.replace(CONFIG.frame_rate, **changes)
    )
    field, encoder = config.receptive_field_samples, build(config).encoder
    frame = field // HOP + 3
    x = jax.random.normal(jax.random.key(1), ((frame + 3) * HOP,))
    gradient = jax.jit(jax.grad(lambda x: encoder(x[None])[0, frame].sum()))(x)
    read = np.flatnonzero(gradient)
    end = (frame + 1) * HOP
    np.testing.assert_array_equal(read, np.arange(end - field, end))


def test_codes_hear_the_lookahead_and_no_more():
    """By changing a recording from one sample on."""
    codec, network = CODECS["lookahead"]().codec, LOOKAHEAD.frame_rate
    cell = HOP // network.cells
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.3, 40 * HOP).astype(np.float32)
    codes = codec.encode(AudioBatch.from_clips([x])).codes[0]
    reach = []
    for first in rng.integers(10 * HOP, 30 * HOP, 60):
        other = x.copy()
        other[first:] = rng.normal(0, 0.3, len(x) - first)
        changed = (codec.encode(AudioBatch.from_clips([other])).codes[0] != codes).any(axis=1)
        frame = np.flatnonzero(changed)[0]
        reach.append(int(first - (frame + 1) * HOP))  # samples after the frame
    assert (network.lookahead - 1) * cell <= max(reach) < network.lookahead * cell


def test_training_hears_what_the_codec_does():
    tiny = CODECS["lookahead"]()
    train, plain = SoundStreamTrainConfig(), make_optimizer(OptimizerConfig())
    state = jax.eval_shape(program(LOOKAHEAD, train, plain, plain).init, jax.random.key(0))
    weights = dict(tiny.arrays)
    vectors = jnp.asarray(weights.pop(CODEBOOKS))
    generator = unflatten_into(state.params["generator"], weights, "tiny")
    books = empty_codebooks(LOOKAHEAD.quantizer, LOOKAHEAD.embedding_width)
    books = dataclasses.replace(books, vectors=vectors, is_initialized=jnp.array(True))
    state = dataclasses.replace(
        state, params={"generator": generator}, rest={"codebooks": books}, ema={}
    )
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.3, size).astype(np.float32) for size in (20 * HOP, 13 * HOP - 3)]
    batch = AudioBatch.from_clips(clips)
    expected = tiny.codec.decode(tiny.codec.encode(batch)).samples
    heard = np.clip(jax.jit(roundtrip(LOOKAHEAD, train))(state, batch), -1, 1)
    for row, clip in enumerate(clips):
        np.testing.assert_allclose(
            heard[row, : len(clip)], expected[row, : len(clip)], rtol=0, atol=3e-5
        )


def test_decoder_sample_reads_no_later_frame(model):
    z = jax.random.normal(jax.random.key(1), (6, 3))
    table = np.abs(jax.jit(jax.jacobian(lambda z: model.decoder(z[None])[0]))(z)).sum(-1)
    for sample in range(6 * HOP):
        frame = sample // HOP
        assert not table[sample, frame + 1 :].any()
        assert table[sample, frame] > 0
        assert frame == 0 or table[sample, frame - 1] > 0


def test_silence_gives_finite_values_and_gradients(model):
    def loudness(x):
        return (model.decoder(model.encoder(x)) ** 2).sum()

    value, gradient = jax.jit(jax.value_and_grad(loudness))(jnp.zeros((1, 4 * HOP)))
    assert np.isfinite([value, *np.ravel(gradient)]).all()


@pytest.mark.slow
def test_training_brings_the_losses_down_and_exports_a_codec():
    """With discriminators from the third step on, and padding that must not count."""
    train = SoundStreamTrainConfig(
        losses=LossConfig(spectral_windows=(64, 128), mel_bins=8, complex_weight=1.0),
        discriminators=DiscriminatorConfig(
            wave_scales=(2,),
            wave_width=4,
            wave_max_width=4,
            stft_width=1,
            stft_window=128,
            stft_hop=64,
        ),
        discriminator_start_step=38,
    )
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=5))
    trainer = program(CONFIG, train, optimizer, optimizer)
    time = np.arange(128 * HOP) / CONFIG.sample_rate_hz
    clips = [0.3 * np.sin(2 * np.pi * f * time[: n * HOP]) for f, n in ((90, 128), (220, 100))]
    batch = AudioBatch.from_clips([clip.astype(np.float32) for clip in clips])
    batch.samples[1, 100 * HOP :] = np.nan
    state = jax.jit(trainer.init, compiler_options=QUICK)(jax.random.key(0))
    step = jax.jit(trainer.step, compiler_options=QUICK)
    history = []
    for i in range(40):
        state, metrics = step(state, batch, jax.random.key(i))
        history.append({name: float(value) for name, value in metrics.items()})
    assert all(np.isfinite(list(metrics.values())).all() for metrics in history)
    assert history[37]["spectral_loss"] < 0.5 * history[0]["spectral_loss"]
    assert history[37]["complex_loss"] < history[0]["complex_loss"]
    assert history[37]["commitment_loss"] < history[1]["commitment_loss"]
    assert history[37]["adversarial_loss"] == 0 < history[38]["adversarial_loss"]
    SoundStreamCodec(CONFIG, jax.device_get(trainer.export(state)), "0" * 64)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_complex_distance_hears_phases_and_no_padding(seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(2, 2000)), jnp.float32)
    distance = jax.jit(complex_distance)
    lengths = jnp.array([2000, 1024])
    x = jnp.where(jnp.arange(2000)[None] < lengths[:, None], x, 0)
    assert not np.asarray(distance(x, x, lengths)).any()
    near, far = (np.asarray(distance(x, y, lengths)) for y in (0.9 * x, -x))
    assert (far > 5 * near).all()
    assert (near > 0).all()
    alone = distance(x[1:, :1024], -x[1:, :1024], lengths[1:])
    np.testing.assert_allclose(far[1], alone[0], rtol=1e-5)


def test_it_is_off_unless_asked_for(model):
    assert SoundStreamConfig().frame_rate is None
    assert isinstance(build(dataclasses.replace(CONFIG, frame_rate=None)).encoder, Encoder)
    assert not isinstance(model.encoder, Encoder)
    assert LossConfig().complex_weight == 0


def test_config_survives_json():
    fields = json.loads(json.dumps(config_to_dict(CONFIG)))
    assert config_from_dict(SoundStreamConfig, fields, "test") == CONFIG


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "--model.frame-rate.width = 0"),
        ({"synthesis_overlap": 1}, "--model.frame-rate.synthesis-overlap = 1: expected 2"),
        ({"lookahead": -1}, "--model.frame-rate.lookahead = -1: expected 0 or more"),
        ({"cells": 3}, "--model.frame-rate.cells = 3: expected a divisor of the hop, 8"),
        ({"cells": 8, "analysis_overlap": 3}, "a window of an even number of samples, not 3"),
    ],
)
def test_bad_config_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, frame_rate=dataclasses.replace(CONFIG.frame_rate, **changes))
