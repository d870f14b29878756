"""The step: recorded, learning, the same on any mesh; what batch normalization keeps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.classifiers.config import ClassifierConfig, ClassifierTrainConfig
from audiolm_jax.classifiers.train import program
from audiolm_jax.nn.partition import use_rules
from audiolm_jax.types import AudioBatch, LabelledBatch

CONFIG = ClassifierConfig(
    sample_rate_hz=4000,
    crop_seconds=0.5,
    mel_hop_samples=40,
    mel_window_samples=100,
    mel_fft_size=128,
    mel_bins=12,
    channels=(4, 6),
    classes=("low", "high"),
)
RULES = {"batch": "data", "time": None, "channels_in": None, "channels_out": None}
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def make_batch(seed=0):
    """Low and high tones; the last two rows are short and empty."""
    rng = np.random.default_rng(seed)
    labels = np.arange(8, dtype=np.int32) % 2
    pitch = np.where(labels, 900, 300)[:, None] * rng.uniform(0.9, 1.1, (8, 1))
    time = np.arange(2000)[None] / 4000
    samples = 0.3 * np.sin(2 * np.pi * pitch * time) + rng.normal(0, 0.05, (8, 2000))
    lengths = np.array([2000] * 6 + [700, 0], np.int32)
    return LabelledBatch(AudioBatch(samples.astype(np.float32), lengths), labels)


@pytest.fixture(scope="module")
def trainer():
    return program(CONFIG, ClassifierTrainConfig(), optax.adam(1e-2, eps=1e-3))


@pytest.fixture(scope="module")
def initial(trainer):
    return jit(trainer.init)(jax.random.key(0))


@pytest.fixture(scope="module")
def step(trainer):
    return jit(trainer.step)


GOLDEN = {"loss": 0.7154694, "grad_norm": 0.3969410, "param_norm": 5.460475}


def test_a_training_step_is_the_recorded_one(trainer, step):
    rng = np.random.default_rng(0)  # not by the initializers, which are no part of a step
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), state.params)
    rest = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), state.rest)
    opt_state = optax.adam(1e-2, eps=1e-3).init(params)
    state = dataclasses.replace(
        state, step=jnp.zeros((), jnp.int32), params=params, rest=rest, opt_state=opt_state
    )
    _, metrics = step(state, make_batch(), jax.random.key(2))
    found = {name: float(metrics[name]) for name in GOLDEN}
    assert found == pytest.approx(GOLDEN, rel=1e-4), (
        f"the maths of a training step changed: {found}, recorded were {GOLDEN}; if that is "
        "meant, record the new values here and say so in CHANGELOG"
    )


def test_it_learns_to_tell_tones_apart(trainer, step, initial):
    state = initial
    for i in range(40):
        state, metrics = step(state, make_batch(i), jax.random.key(i))
    sums = jit(trainer.evaluate)(state, make_batch(1000))
    assert float(metrics["loss"]) < 0.1
    assert {name: float(x) for name, x in sums.counts.items()} == {"loss": 7, "accuracy": 7}
    assert float(sums.totals["accuracy"]) == 7
    assert float(sums.totals["loss"]) < 7 * 0.2


def test_an_untrained_network_knows_nothing(trainer, initial):
    """Zero weights in the last layer: equal logits, a loss of log 2, and the first class wins."""
    params = jax.tree.map(jnp.zeros_like, initial.params)
    sums = jit(trainer.evaluate)(dataclasses.replace(initial, params=params), make_batch())
    assert float(sums.totals["loss"]) == pytest.approx(7 * np.log(2), rel=1e-6)
    assert float(sums.totals["accuracy"]) == 4  # rows 0, 2, 4, 6


def test_rows_without_sound_and_padding_count_for_nothing(step, initial):
    batch = make_batch()
    samples = batch.audio.samples.copy()
    samples[6, 700:], samples[7] = np.nan, np.inf
    labels = batch.labels.copy()
    labels[7] = 0
    spoilt = LabelledBatch(AudioBatch(samples, batch.audio.lengths), labels)
    one, other = (step(initial, b, jax.random.key(0)) for b in (batch, spoilt))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_moving_averages_are_means_first_and_forget_then(trainer, initial):
    def run(decay):
        own = program(CONFIG, ClassifierTrainConfig(norm_decay=decay), optax.sgd(0.0))
        states, own_step = [jit(own.init)(jax.random.key(0))], jit(own.step)
        for i in range(3):
            states.append(own_step(states[-1], make_batch(i), jax.random.key(0))[0])
        return [np.asarray(s.rest["moments"]["block_0.time"]["mean"]) for s in states[1:]]

    # With decay 0 each is the batch's own; the weights stand still.
    first, second, third = run(0.0)
    np.testing.assert_allclose(run(0.9), [first, (first + second) / 2,
                               (first + second + third) / 3], rtol=1e-5)  # fmt: skip
    np.testing.assert_allclose(run(0.4)[1], 0.4 * first + 0.6 * second, rtol=1e-5)


def test_levels_differ_from_row_to_row_and_by_no_more_than_asked(initial):
    """A louder batch has louder spectra: the first layer's mean tells."""
    still = program(CONFIG, ClassifierTrainConfig(), optax.sgd(0.0))
    moved = program(CONFIG, ClassifierTrainConfig(level_db=6.0), optax.sgd(0.0))
    state = jit(still.init)(jax.random.key(0))
    found = [
        float(jit(p.step)(state, make_batch(), jax.random.key(seed))[1]["loss"])
        for p, seed in ((still, 0), (still, 1), (moved, 0), (moved, 1))
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_an_exported_model_is_the_state(trainer, initial):
    arrays = trainer.export(initial)
    assert arrays["moments.block_1.frequency.variance"].shape == (6,)
    assert arrays["blocks.0.time.kernel"].shape == (3, 1, 1, 4)
    assert arrays["kernel"].shape == (6, 2)


def test_a_mesh_of_eight_gives_the_step_of_one_device(initial):
    config = ClassifierTrainConfig(level_db=6.0)
    trainer = program(CONFIG, config, optax.adam(1e-2, eps=1e-3))
    alone, metrics = jit(trainer.step)(initial, make_batch(), jax.random.key(1))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    by_batch = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    with jax.set_mesh(mesh), use_rules(RULES):
        state = jax.device_put(initial, everywhere)
        batch = jax.device_put(make_batch(), by_batch)
        # A new function: what was traced without rules would be found again.
        spread, of_mesh = jit(lambda *x: trainer.step(*x))(state, batch, jax.random.key(1))
    for name in metrics:
        np.testing.assert_allclose(of_mesh[name], metrics[name], rtol=1e-4, atol=1e-6)
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(spread), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
