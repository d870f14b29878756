"""The GAN step: learning, determinism, schedule of the discriminators, padding, and sharding."""

import collections
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import use_rules
from audiolm_jax.tokenizers.acoustic.soundstream import rvq
from audiolm_jax.tokenizers.acoustic.soundstream.adversarial import Adversary
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    FrameRateConfig,
    LossConfig,
    QuantizerConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS
from audiolm_jax.tokenizers.acoustic.soundstream.train import program
from audiolm_jax.types import AudioBatch

MODEL = SoundStreamConfig(
    sample_rate_hz=1600,
    channels=2,
    width_multipliers=(1, 2, 4),
    strides=(2, 4),
    dilations=(1,),
    embedding_width=3,
    quantizer=QuantizerConfig(levels=2, codebook_size=4, revival_threshold=0.1),
)
TRAIN = SoundStreamTrainConfig(
    losses=LossConfig(spectral_windows=(64,), mel_bins=4),
    discriminators=DiscriminatorConfig(
        wave_scales=(2,), wave_width=4, wave_max_width=4, stft_width=1, stft_window=128, stft_hop=64
    ),
    discriminator_start_step=3,
    discriminator_every=2,
    generator_ema_decay=0.5,
)
BATCH, SIZE = 8, 250  # no whole number of frames
# A GAN step compiles into a thousand little kernels, and speed is no concern here.
QUICK = {"xla_backend_optimization_level": 0}
RULES = {"batch": "data", "time": None, "channels_in": None, "channels_out": None}


def make_batch(seed, pad=0.0):
    rng = np.random.default_rng(seed)
    time = np.arange(SIZE)[None] / 1600
    pitch = rng.uniform(50, 300, (BATCH, 1))
    samples = (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
    lengths = np.array([SIZE] * 5 + [130, 16, 0], np.int32)
    samples[np.arange(SIZE)[None] >= lengths[:, None]] = pad
    return AudioBatch(samples, lengths)


def train(steps, trainer, step=None, pad=0.0):
    step = step or jax.jit(trainer.step, compiler_options=QUICK)
    state = jax.jit(trainer.init, compiler_options=QUICK)(jax.random.key(0))
    states, history = [state], []
    for i in range(steps):
        state, metrics = step(state, make_batch(i, pad), jax.random.key(i))
        states.append(state)
        history.append({k: float(v) for k, v in metrics.items()})
    return states, history


@pytest.fixture(scope="module")
def trainer():
    # Plain Adam turns rounding noise of a vanishing gradient into a full step.
    return program(MODEL, TRAIN, optax.adam(3e-3, eps=1e-4), optax.sgd(1e-2))


@pytest.fixture(scope="module")
def run(trainer):
    step = jax.jit(trainer.step, compiler_options=QUICK)
    return step, *train(40, trainer, step)


@pytest.fixture(scope="module")
def evaluate(trainer):
    return jax.jit(trainer.evaluate, compiler_options=QUICK)


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def changed(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any((np.asarray(x) != np.asarray(y)).any() for x, y in pairs)


# Losses and gradient norms of the steps that run k-means (0) and the discriminators (3).
GOLDEN = {
    0: {"loss": 39.995823, "commitment_loss": 0.0260012, "grad_norm": 32.606071},
    3: {
        "loss": 71.357925,
        "adversarial_loss": 0.704701,
        "feature_loss": 0.323144,
        "discriminator_loss": 1.949892,
        "grad_norm": 89.980194,
        "grad_norm/discriminator": 8.917754,
    },
}


def test_the_maths_of_a_step_is_that_recorded(run):
    _, _, history = run
    for step, expected in GOLDEN.items():
        for name, value in expected.items():
            assert history[step][name] == pytest.approx(value, rel=1e-4), (
                f"{name} of step {step} is {history[step][name]!r}, recorded was {value!r}: the "
                "maths of a training step changed; if that is meant, record the new value here and "
                "say so in CHANGELOG"
            )


NARROW = dataclasses.replace(TRAIN, compute_dtype="bfloat16")
FRAME_RATE = dataclasses.replace(
    MODEL,
    frame_rate=FrameRateConfig(width=8, encoder_blocks=1, decoder_blocks=1, kernel_size=3, cells=2),
)


@pytest.mark.parametrize("model", [MODEL, FRAME_RATE], ids=["SoundStream", "frame_rate"])
def test_bfloat16_multiplies_bfloat16_and_keeps_float32(model):
    """Last layers, spectra and codes stay float32; state and parameters do."""
    own = program(model, NARROW, optax.adam(3e-3), optax.sgd(1e-2))
    state = jax.eval_shape(own.init, jax.random.key(0))
    batch = jax.tree.map(jnp.asarray, make_batch(0))
    traced = jax.make_jaxpr(own.step, return_shape=True)(state, batch, jax.random.key(0))
    after, _ = traced[1]
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True)
    assert all(a.dtype == b.dtype != jnp.bfloat16 for a, b in pairs)
    kinds = collections.Counter(
        one.outvars[0].aval.dtype.name
        for one in equations(traced[0].jaxpr)
        if one.primitive.name in ("conv_general_dilated", "dot_general")
    )
    of_discriminators = 60
    assert kinds["bfloat16"] > of_discriminators
    assert set(kinds) == {"bfloat16", "float32"}


def equations(jaxpr):
    for one in jaxpr.eqns:
        yield one
        for inner in jaxprs_in_params(one.params):
            yield from equations(inner)


def test_a_step_of_bfloat16_is_that_of_float32_but_for_rounding(run):
    own = program(MODEL, NARROW, optax.adam(3e-3, eps=1e-4), optax.sgd(1e-2))
    _, states, exact = run
    step = jax.jit(own.step, compiler_options=QUICK)
    _, narrow = step(states[3], make_batch(3), jax.random.key(3))
    for name in ("spectral_loss", "adversarial_loss", "feature_loss", "grad_norm/discriminator"):
        assert float(narrow[name]) == pytest.approx(exact[3][name], rel=0.1), name
    assert float(narrow["feature_loss"]) != exact[3]["feature_loss"]


def test_loss_falls(run):
    _, _, history = run
    losses = [m["spectral_loss"] for m in history]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert all(np.isfinite(v) for m in history for v in m.values())


def test_discriminators_follow_their_schedule(run):
    _, states, history = run
    for i in range(10):
        before, after = (s.params["discriminator"] for s in states[i : i + 2])
        assert changed(before, after) == (i >= 3 and (i - 3) % 2 == 0)
        assert changed(states[i].params["generator"], states[i + 1].params["generator"])
        assert (history[i]["discriminator_loss"] > 0) == (i >= 3)
        assert (history[i]["feature_loss"] > 0) == (i >= 3)


def test_adversarial_losses_reach_the_generator(run):
    step, states, _ = run
    early = dataclasses.replace(states[3], step=np.int32(0))  # before the discriminators start
    with_gan, _ = step(states[3], make_batch(3), jax.random.key(3))
    without, _ = step(early, make_batch(3), jax.random.key(3))
    assert changed(with_gan.params["generator"], without.params["generator"])
    assert_equal(with_gan.rest, without.rest)


@pytest.mark.slow
def test_weights_and_depths_reach_the_step_and_commitment_is_lowered(run, evaluate, monkeypatch):
    """With the spectral loss off and discriminators that say nothing, it is commitment alone."""
    losses = LossConfig(
        spectral_windows=(64,), mel_bins=4, spectral_weight=0.0, commitment_weight=0.5,
        adversarial_weight=2.5, feature_weight=7.0,
    )  # fmt: skip
    config = dataclasses.replace(
        TRAIN, losses=losses, quantizer_dropout=0.75, generator_ema_decay=0.0
    )
    seen = {}

    def silent(self, completed, params, opt_state, real, fake, weightings):
        seen["weightings"] = weightings
        metrics = dict.fromkeys(("adversarial_loss", "feature_loss"), jnp.zeros(()))
        return params, opt_state, (jnp.zeros_like(fake),), metrics

    def draw(key, batch, levels, probability):
        seen["dropout"], seen["drawn"] = probability, jnp.full((batch,), levels, jnp.int32)
        return seen["drawn"]

    quantize = rvq.quantize

    def watched(latents, mask, codebooks, depths):
        seen.setdefault("used", depths)
        return quantize(latents, mask, codebooks, depths)

    for where, name, stand_in in (
        (Adversary, "step", silent),
        (rvq, "draw_depths", draw),
        (rvq, "quantize", watched),
    ):
        monkeypatch.setattr(where, name, stand_in)
    optimizer = optax.sgd(1e-2)
    trainer, old = program(MODEL, config, optimizer, optimizer), run[1][5]
    opt_state = {name: optimizer.init(params) for name, params in old.params.items()}
    state = dataclasses.replace(old, opt_state=opt_state, ema={})
    step = jax.jit(trainer.step, compiler_options=QUICK)
    after, metrics = step(state, make_batch(0), jax.random.key(1))
    assert seen["weightings"] == ((2.5, 7.0),)
    assert seen["dropout"] == 0.75
    assert seen["used"] is seen["drawn"]
    assert metrics["loss"] == pytest.approx(0.5 * metrics["commitment_loss"])
    assert metrics["grad_norm"] > 0

    def commitment(params):  # to the old codes
        heard = dataclasses.replace(old, ema=params["generator"])
        return evaluate(heard, make_batch(0)).totals["commitment_loss"]

    assert commitment(after.params) < commitment(state.params)


def test_same_seed_same_bits(run, trainer):
    step, states, _ = run
    again, _ = train(6, trainer, step)
    assert_equal(again[6], states[6])


def test_padding_may_hold_anything(run, trainer):
    step, states, history = run
    garbage, metrics = train(5, trainer, step, pad=np.nan)
    assert_equal(garbage[5], states[5])
    assert metrics == history[:5]


def test_codebooks_start_from_the_first_batch(run):
    _, states, _ = run
    assert not states[0].rest["codebooks"].is_initialized
    assert states[1].rest["codebooks"].is_initialized
    assert np.abs(states[1].rest["codebooks"].vectors).max() > 0
    assert changed(states[1].rest["codebooks"].vectors, states[2].rest["codebooks"].vectors)


def test_average_of_the_generator_is_what_is_exported(run, trainer):
    _, states, _ = run
    for before, after in itertools.pairwise(states[:4]):
        expected = jax.tree.map(
            lambda a, b: 0.5 * np.asarray(a) + 0.5 * np.asarray(b),
            before.ema,
            after.params["generator"],
        )
        for x, y in zip(jax.tree.leaves(expected), jax.tree.leaves(after.ema), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)
    arrays = jax.device_get(trainer.export(states[-1]))
    kernel = states[-1].ema["encoder"]["first"]["kernel"][...]
    np.testing.assert_array_equal(arrays["encoder.first.kernel"], kernel)
    np.testing.assert_array_equal(arrays[CODEBOOKS], states[-1].rest["codebooks"].vectors)
    assert {name.split(".")[0] for name in arrays} == {"encoder", "decoder", "quantizer"}


def test_evaluation_adds_up_over_batches(run, evaluate):
    _, states, _ = run
    batch = make_batch(100, pad=np.nan)
    whole = evaluate(states[-1], batch)
    even = np.arange(BATCH) % 2 == 0
    parts = [
        evaluate(states[-1], AudioBatch(batch.samples, np.where(rows, batch.lengths, 0)))
        for rows in (even, ~even)
    ]
    summed = jax.tree.map(lambda a, b: a + b, *parts)
    for name, total in whole.totals.items():
        np.testing.assert_allclose(total, summed.totals[name], rtol=2e-4)
        np.testing.assert_allclose(whole.counts[name], summed.counts[name])
    assert float(whole.counts["spectral_loss"]) == 7  # the empty item does not count
    # Of the averaged weights, which are exported, not of the last ones.
    unknown = jax.tree.map(lambda x: np.full_like(x, np.nan), states[-1].params)
    assert_equal(evaluate(dataclasses.replace(states[-1], params=unknown), batch), whole)


@pytest.mark.slow
def test_eight_devices_do_the_step_of_one(run, trainer):
    _, states, history = run
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    by_batch = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    with jax.set_mesh(mesh), use_rules(RULES):
        step = jax.jit(trainer.step, out_shardings=everywhere, compiler_options=QUICK)
        for i in (0, 3):  # k-means; discriminators
            state = jax.device_put(states[i], everywhere)
            batch = jax.device_put(make_batch(i), by_batch)
            after, metrics = step(state, batch, jax.random.key(i))
            for name, value in metrics.items():
                np.testing.assert_allclose(value, history[i][name], rtol=1e-3, atol=1e-4)
            for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(states[i + 1]), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-2, atol=2e-4)


def test_parameters_carry_logical_names(trainer):
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    is_variable = lambda x: isinstance(x, nnx.Variable)  # noqa: E731
    for variable in jax.tree.leaves(state.params, is_leaf=is_variable):
        names = variable.get_metadata()["out_sharding"]
        assert len(names) == len(variable.shape)
        assert {n for n in names if n} <= RULES.keys()


def test_revival_threshold_above_the_mean_use_is_refused():
    quantizer = dataclasses.replace(MODEL.quantizer, codebook_size=1024, revival_threshold=2.0)
    model = dataclasses.replace(MODEL, quantizer=quantizer)
    trainer = program(model, TRAIN, optax.adam(1e-3), optax.adam(1e-3))
    with pytest.raises(
        InputError, match=r"--model.quantizer.revival-threshold = 2.0: .* 256 frames"
    ):
        jax.eval_shape(
            trainer.step,
            jax.eval_shape(trainer.init, jax.random.key(0)),
            make_batch(0),
            jax.random.key(0),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"discriminator_start_step": -1},
        {"discriminator_every": 0},
        {"quantizer_dropout": 1.5},
        {"generator_ema_decay": 1.0},
    ],
)
def test_bad_config_is_refused(changes):
    flag = "--train." + next(iter(changes)).replace("_", "-")
    with pytest.raises(InputError, match=f"^{flag} = "):
        dataclasses.replace(TRAIN, **changes)
