"""The denoising switch: FiLM alone, in a codec and its streams, and in training with a balancer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from support.tiny_codecs import soundstream_arrays

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    BalancerConfig,
    DenoisingConfig,
    DiscriminatorConfig,
    LossConfig,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.film import Film, condition
from audiolm_jax.tokenizers.acoustic.soundstream.losses import si_sdr_db, spectral_loss
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS
from audiolm_jax.tokenizers.acoustic.soundstream.train import _Trainer, program
from audiolm_jax.training.checkpoints import Checkpoints
from audiolm_jax.training.mesh import replicated
from audiolm_jax.types import AudioBatch, DenoisingBatch

PLAIN = SoundStreamConfig(
    sample_rate_hz=1600,
    channels=2,
    width_multipliers=(1, 2),
    strides=(8,),
    dilations=(1,),
    embedding_width=3,
    quantizer=QuantizerConfig(levels=2, codebook_size=8, revival_threshold=0.0),
)
HOP, PLACES = PLAIN.hop_samples, ("encoder", "decoder")
QUICK = {"xla_backend_optimization_level": 0}


def switched(place):
    return dataclasses.replace(PLAIN, denoising=DenoisingConfig(place))


# FiLM alone


@pytest.fixture
def film():
    return Film(DenoisingConfig("encoder"), 3)


def test_film_begins_as_the_identity(film):
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    for switch in (False, True):
        np.testing.assert_array_equal(film(x, jnp.full((1, 1), switch)), x)
    assert condition(None, "encoder", x, None) is x
    assert condition(film, "decoder", x, None) is x  # it belongs behind the encoder


def test_each_frame_follows_its_own_switch(film):
    """And the gradient of each row comes from the frames that it was used on."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    switch = jnp.array([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    gamma, beta = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 1, 0], [7, 8, 9]])
    film.gamma[...], film.beta[...] = jnp.float32(gamma), jnp.float32(beta)
    rows = switch.astype(int)
    np.testing.assert_allclose(film(x, switch), x * gamma[rows] + beta[rows], rtol=1e-6)
    graph, params = nnx.split(film)
    gradient = jax.grad(lambda p: nnx.merge(graph, p)(x, switch).sum())(params)
    np.testing.assert_allclose(gradient["beta"][...], [[7] * 3, [3] * 3])
    on = np.asarray(x)[np.asarray(switch)].sum(0)
    np.testing.assert_allclose(gradient["gamma"][...], [x.sum((0, 1)) - on, on], atol=1e-5)


# In a codec


@pytest.fixture(scope="module")
def arrays():
    return soundstream_arrays(switched("encoder"))


@pytest.fixture(scope="module")
def audio():
    rng = np.random.default_rng(1)
    return AudioBatch.from_clips([(0.3 * rng.normal(size=40 * HOP - 3)).astype(np.float32)])


def both_ways(codec, audio):
    tokens = codec.encode(audio)
    return np.asarray(tokens.codes), codec.decode(tokens).samples


@pytest.mark.parametrize("place", PLACES)
def test_a_switch_at_rest_changes_no_bit(arrays, audio, place):
    plain_arrays = {name: a for name, a in arrays.items() if not name.startswith("film.")}
    plain = both_ways(SoundStreamCodec(PLAIN, plain_arrays, "0" * 64), audio)
    codec = SoundStreamCodec(switched(place), arrays, "1" * 64)
    denoising = codec.with_denoising()
    for a, b in zip(plain, both_ways(codec, audio), strict=True):
        np.testing.assert_array_equal(a, b)
    codes, samples = both_ways(denoising, audio)
    assert (codes != plain[0]).any() == (place == "encoder")  # whose bits the noise costs
    assert np.abs(samples - plain[1]).max() > 0.01
    for a, b in zip(plain, both_ways(codec, audio), strict=True):  # the other is a copy
        np.testing.assert_array_equal(a, b)


def test_the_target_is_the_speech_or_what_is_heard():
    """By the switch of each example; noise beyond the speech is padding in both."""
    unused = optax.identity()
    trainer = _Trainer(switched("encoder"), SoundStreamTrainConfig(), unused, unused)
    speech, noise = np.random.default_rng(0).normal(size=(2, 2, 40)).astype(np.float32)
    lengths = np.array([40, 25], np.int32)
    batch = DenoisingBatch(AudioBatch(speech, lengths), noise, np.array([True, False]))
    inputs = trainer.prepare(batch)
    inside = np.arange(40)[None] < lengths[:, None]
    np.testing.assert_array_equal(inputs.samples, np.where(inside, speech + noise, 0))
    expected = np.stack([speech[0], speech[1] + noise[1]])
    np.testing.assert_array_equal(inputs.targets, np.where(inside, expected, 0))
    np.testing.assert_array_equal(inputs.denoise, [[True], [False]])


def test_a_codec_without_a_switch_has_none_to_turn(arrays):
    plain = {name: array for name, array in arrays.items() if not name.startswith("film.")}
    with pytest.raises(InputError, match="has no denoising switch"):
        SoundStreamCodec(PLAIN, plain, "0" * 64).with_denoising()
    with pytest.raises(InputError, match="film"):
        SoundStreamCodec(switched("encoder"), plain, "0" * 64)


# In training

BATCH, SIZE = 4, 130  # no whole number of frames
LOSSES = LossConfig(spectral_windows=(64,), mel_bins=4, feature_weight=3.0)


@pytest.fixture(scope="module")
def trainer():
    config = SoundStreamTrainConfig(
        losses=LOSSES,
        discriminators=DiscriminatorConfig(
            wave_scales=(), stft_width=1, stft_window=128, stft_hop=64
        ),
        discriminator_start_step=2,
        quantizer_dropout=0.0,
        balancer=BalancerConfig(decay=0.5),
    )
    return program(switched("encoder"), config, optax.adam(1e-2, eps=1e-4), optax.sgd(1e-2))


@pytest.fixture(scope="module")
def step(trainer):
    return jax.jit(trainer.step, compiler_options=QUICK)


@pytest.fixture(scope="module")
def start(trainer):
    return jax.jit(trainer.init, compiler_options=QUICK)(jax.random.key(0))


def make_batch(seed, switch, pad=0.0):
    rng = np.random.default_rng(seed)
    clean, noise = rng.normal(0, 0.2, (2, BATCH, SIZE)).astype(np.float32)
    lengths = np.array([SIZE, SIZE, 100, 60], np.int32)
    for part in (clean, noise):
        part[np.arange(SIZE) >= lengths[:, None]] = pad
    return DenoisingBatch(AudioBatch(clean, lengths), noise, np.broadcast_to(switch, BATCH))


def mixed(seed, pad=0.0):
    return make_batch(seed, np.array([True, False, True, False]), pad)


def run(step, state, steps):
    history = []
    for i in steps:
        state, metrics = step(state, mixed(i), jax.random.key(i))
        history.append(jax.tree.map(float, metrics))
    return state, history


def equal(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.slow
def test_the_switch_decides_the_target(step, start):
    """FiLM starts as the identity, so at first only the target can differ."""
    key = jax.random.key(0)
    off, off_metrics = step(start, make_batch(0, False), key)
    on, on_metrics = step(start, make_batch(0, True), key)
    assert equal(off.rest["codebooks"], on.rest["codebooks"])  # the same input
    assert off_metrics["spectral_loss"] != on_metrics["spectral_loss"]
    # Off: noisy audio is the target, as if it had been recorded like that.
    batch = make_batch(0, False)
    noisy = AudioBatch(batch.clean.samples + batch.noise, batch.clean.lengths)
    recorded = DenoisingBatch(noisy, np.zeros_like(batch.noise), batch.denoise)
    assert equal(step(start, recorded, key)[0], off)
    # Clean audio is its own target either way; only the row of FiLM that learns is another.
    clean = [
        DenoisingBatch(batch.clean, np.zeros_like(batch.noise), np.full(BATCH, switch))
        for switch in (False, True)
    ]
    states, metrics = zip(*(step(start, b, key) for b in clean), strict=True)
    assert metrics[0]["spectral_loss"] == metrics[1]["spectral_loss"]
    for i, state in enumerate(states):
        rows = state.params["generator"]["film"]["gamma"][...] != 1
        assert rows[i].any()
        assert not rows[1 - i].any()


@pytest.mark.slow
def test_both_rows_learn_and_padding_may_hold_anything(step, start):
    state, _ = step(start, mixed(0), jax.random.key(0))
    garbage, _ = step(start, mixed(0, pad=np.nan), jax.random.key(0))
    assert equal(state, garbage)
    film = state.params["generator"]["film"]
    assert (film["gamma"][...] != 1).all()
    assert (film["beta"][...] != 0).all()


@pytest.mark.slow
def test_balancer_averages_its_norms_and_goes_on_from_a_checkpoint(step, start, tmp_path):
    middle, first = run(step, start, range(3))
    end, rest = run(step, middle, range(3, 5))
    names = ("spectral", "adversarial", "feature")
    norms = np.array([[m[f"output_grad_norm/{n}"] for n in names] for m in first + rest])
    assert (norms[:2, 1:] == 0).all()  # the discriminators start at step 2
    assert (norms[2] > 0).all()
    assert (norms[:, 0] > 0).all()
    assert "output_grad_norm/complex" not in first[0]  # its weight is 0
    assert step._cache_size() == 1
    sums = np.zeros(3)
    for norm in norms:
        sums = np.where(norm > 0, 0.5 * sums + norm, sums)
    np.testing.assert_allclose(end.rest["balancer"].sums, sums, rtol=1e-5)
    with Checkpoints(tmp_path, 1) as checkpoints:
        checkpoints.save(3, middle, {})
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), middle)
    with Checkpoints(tmp_path, 1) as checkpoints:
        shardings = jax.tree.map(lambda _: replicated(None), middle)
        restored, _ = checkpoints.restore(abstract, shardings)
    again, _ = run(step, restored, range(3, 5))
    assert equal(again, end)


@pytest.mark.slow
def test_evaluation_hears_what_the_codec_with_its_switch_on_gives(trainer, start, arrays):
    film = start.params["generator"]["film"]
    rows = {name: film[name].replace(arrays[f"film.{name}"]) for name in ("gamma", "beta")}
    generator = nnx.State({**start.params["generator"], "film": nnx.State(rows)})
    books = dataclasses.replace(
        start.rest["codebooks"], vectors=arrays[CODEBOOKS], is_initialized=np.array(True)
    )
    state = dataclasses.replace(
        start,
        params=start.params | {"generator": generator},
        rest=start.rest | {"codebooks": books},
    )
    batch = mixed(7, pad=np.nan)
    sums = jax.jit(trainer.evaluate, compiler_options=QUICK)(state, batch)
    codec = SoundStreamCodec(switched("encoder"), jax.device_get(trainer.export(state)), "0" * 64)
    noisy = AudioBatch(batch.clean.samples + batch.noise, batch.clean.lengths)
    on = codec.with_denoising()
    heard = {
        "spectral_loss": codec.decode(codec.encode(batch.clean)),
        "denoised/spectral_loss": on.decode(on.encode(noisy)),
    }
    clean = np.nan_to_num(batch.clean.samples)
    for name, decoded in heard.items():
        assert np.abs(decoded.samples).max() < 1  # nothing was cut off
        within = np.arange(SIZE) < batch.clean.lengths[:, None]
        samples = np.where(within, decoded.samples[:, :SIZE], 0)
        pair = jnp.asarray(clean), jnp.asarray(samples), jnp.asarray(batch.clean.lengths)
        expected = spectral_loss(*pair, 1600, LOSSES).sum()
        assert float(sums.totals[name]) == pytest.approx(float(expected), rel=1e-3), name
        assert float(sums.counts[name]) == BATCH
    mixed_in = jnp.asarray(np.nan_to_num(noisy.samples))
    in_db = si_sdr_db(jnp.asarray(clean), mixed_in, jnp.asarray(batch.clean.lengths)).sum()
    assert float(sums.totals["noisy/si_sdr_db"]) == pytest.approx(float(in_db), abs=0.01)
    assert "denoised/si_sdr_db" in sums.totals
