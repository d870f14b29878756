import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import use_rules
from audiolm_jax.tokenizers.semantic.w2v_bert import train
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertTrainConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.tokenizers.semantic.w2v_bert.train import draw, program, token_validity
from audiolm_jax.types import AudioBatch

RULES = dict.fromkeys(
    ("length", "time", "embed", "mlp", "heads", "kv", "codes", "channels_in", "channels_out")
) | {"batch": "data"}


def toy_batch():
    """Eight clips that switch between tones, so that hidden tokens can be told from context."""
    rng = np.random.default_rng(0)
    samples = np.zeros((8, 12_800), np.float32)
    for row in samples:
        tones = rng.choice([200, 900, 3000], 4)
        phase = np.cumsum(np.repeat(tones, 3200)) * 2 * np.pi / 16_000
        row[:] = np.sin(phase) + 0.01 * rng.normal(size=len(row))
    return AudioBatch(samples, np.array([12_800] * 6 + [9000, 0], np.int32))


@pytest.fixture(scope="module")
def step(trainer, fast_jit):
    return fast_jit(trainer.step)


@pytest.fixture(scope="module")
def run(step, initial_state):
    def steps(count):
        state, metrics, batch = initial_state, {}, toy_batch()
        for i in range(count):
            state, metrics = step(state, batch, jax.random.fold_in(jax.random.key(1), i))
        return state, metrics

    return steps


# Of the first step from fixed weights: loss, norms of gradient and of weights after it.
GOLDEN = {
    "w2v_bert": {"loss": 6.928946, "grad_norm": 12.618080, "param_norm": 12.731256},
    "best_rq": {"loss": 2.870600, "grad_norm": 0.3919703, "param_norm": 10.620659},
}


@pytest.mark.parametrize("objective", ["w2v_bert", pytest.param("best_rq", marks=pytest.mark.slow)])
def test_a_training_step_is_the_recorded_one(objective, trainer, step, tiny_config, fast_jit):
    if objective == "best_rq":
        config = dataclasses.replace(
            tiny_config, objective=objective, contrastive_layers=0, codebook_size=16, code_width=4
        )
        trainer = program(config, W2vBertTrainConfig(), optax.adam(5e-3, eps=1e-3))
        step = fast_jit(trainer.step)
    rng = np.random.default_rng(0)  # not by the initializers, which are no part of a step
    state = jax.eval_shape(trainer.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), state.params)
    state = dataclasses.replace(
        state,
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optax.adam(5e-3, eps=1e-3).init(params),
    )
    _, metrics = step(state, toy_batch(), jax.random.key(2))
    expected = GOLDEN[objective]
    found = {name: float(metrics[name]) for name in expected}
    assert found == pytest.approx(expected, rel=1e-4), (
        f"the maths of a training step changed: {found}, recorded were {expected}; if that is "
        "meant, record the new values here and say so in CHANGELOG"
    )


def test_a_step_gives_the_model_noise_dropout_and_the_share_of_the_targets(
    monkeypatch, tiny_config, initial_state
):
    class SeenError(Exception):
        pass

    def stop(model, *arguments):
        raise SeenError(*arguments)

    monkeypatch.setattr(W2vBert, "__call__", stop)
    monkeypatch.setattr(train, "draw", jax.jit(draw, static_argnums=(2, 3, 4)))
    config = W2vBertTrainConfig(target_gradient_scale=0.375)
    with pytest.raises(SeenError) as seen:
        program(tiny_config, config, optax.adam(1e-3)).step(
            initial_state, toy_batch(), jax.random.key(0)
        )
    *_, scale, _, gumbel_key, dropout_key, _, _ = seen.value.args
    assert scale == 0.375
    gumbel, dropout = (jax.random.key_data(key) for key in (gumbel_key, dropout_key))
    assert (gumbel != dropout).any()


@pytest.mark.slow
def test_training_lowers_both_losses_without_collapse(trainer, initial_state, run, fast_jit):
    evaluate = fast_jit(trainer.evaluate)

    def means(state):
        sums = evaluate(state, toy_batch())
        return {name: float(sums.totals[name] / sums.counts[name]) for name in sums.totals}

    state, metrics = run(120)
    before, after = means(initial_state), means(state)
    assert after == means(state)
    assert after["loss"] < before["loss"] - 0.3
    assert after["masked_loss"] < before["masked_loss"]
    assert after["contrastive_loss"] < before["contrastive_loss"]
    assert after["code_perplexity"] > 1.5
    assert int(state.step) == 120
    np.testing.assert_allclose(metrics["gumbel_temperature"], 2 * 0.99**119, rtol=1e-4)
    assert 0.2 < after["masked_fraction"] < 0.8


def test_same_seed_gives_the_same_bits(run):
    (first, _), (second, _) = run(3), run(3)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_evaluation_draws_the_same(trainer, initial_state):
    """What is hidden depends on nothing but the batch: the program is the same each time."""
    # Not what was traced before, which a cache would give.
    programs = [
        jax.make_jaxpr(lambda state, batch: trainer.evaluate(state, batch))(
            initial_state, toy_batch()
        )
        for _ in range(2)
    ]
    one, two = (f"{program} {program.consts}" for program in programs)
    assert one == two
    assert "random_seed" in one


def test_padding_does_not_reach_a_step(step, initial_state):
    batch = toy_batch()
    dirty = batch.samples.copy()
    dirty[6, 9000:] = np.nan
    dirty[7] = np.nan
    clean_state, _ = step(initial_state, batch, jax.random.key(2))
    dirty_state, _ = step(initial_state, AudioBatch(dirty, batch.lengths), jax.random.key(2))
    for a, b in zip(jax.tree.leaves(clean_state), jax.tree.leaves(dirty_state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_warp_reaches_the_blocks_but_not_the_targets(
    tiny_config, graphdef, initial_state, fast_jit
):
    batch = toy_batch()

    @fast_jit
    def drawn_by(key):
        valid, settings = (
            token_validity(batch, tiny_config),
            W2vBertTrainConfig(frequency_warp=0.25),
        )
        return draw(key, valid, tiny_config.conformer.width, settings, 640)

    drawn = drawn_by(jax.random.key(4))
    assert drawn.warp.shape == (8,)
    assert ((drawn.warp >= 1 / 1.25) & (drawn.warp <= 1.25)).all()
    assert np.unique(drawn.warp).size == 8
    assert drawn.warp.min() < 1 < drawn.warp.max()
    still = jax.eval_shape(
        lambda key: draw(key, drawn.mask, 8, W2vBertTrainConfig(), 640), jax.random.key(4)
    )
    assert still.warp is None

    @fast_jit
    def outputs(params, warp):
        model, nothing = nnx.merge(graphdef, params), jnp.zeros(drawn.mask.shape, bool)
        return model(batch, nothing, drawn.mask_vectors, 1.0, warp=warp)

    plain, warped = (
        outputs(initial_state.params, warp) for warp in (np.ones(8, np.float32), drawn.warp)
    )
    np.testing.assert_array_equal(warped.ids, plain.ids)
    np.testing.assert_allclose(warped.subsampled, plain.subsampled, atol=1e-5)
    moved = np.abs(warped.context - plain.context).max(axis=(1, 2))
    assert (moved[:7] > 1e-2).all()


@pytest.mark.slow
def test_a_step_hears_the_warp_and_an_evaluation_does_not(
    tiny_config, trainer, step, initial_state, fast_jit
):
    settings = W2vBertTrainConfig(distractors=7, gumbel_temperature_decay=0.99, frequency_warp=0.25)
    warping = program(tiny_config, settings, optax.adam(5e-3, eps=1e-3))
    batch, key = toy_batch(), jax.random.key(6)
    _, plain = step(initial_state, batch, key)
    _, warped = fast_jit(warping.step)(initial_state, batch, key)
    np.testing.assert_allclose(warped["code_perplexity"], plain["code_perplexity"], rtol=1e-5)
    assert abs(warped["contrastive_loss"] - plain["contrastive_loss"]) > 1e-3
    sums = [fast_jit(one.evaluate)(initial_state, batch) for one in (trainer, warping)]
    for a, b in zip(*(jax.tree.leaves(one) for one in sums), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_eight_devices_take_the_step_of_one(trainer, step, initial_state, fast_jit):
    batch, key = toy_batch(), jax.random.key(3)
    alone, alone_metrics = step(initial_state, batch, key)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    with jax.set_mesh(mesh), use_rules(RULES):
        sharded = fast_jit(lambda *args: trainer.step(*args), out_shardings=whole)
        state, metrics = sharded(
            jax.device_put(initial_state, whole), jax.device_put(batch, rows), key
        )
    for name, value in alone_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_export_names_every_array(trainer, initial_state):
    arrays = jax.device_get(trainer.export(initial_state))
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert {"subsampling.kernel1", "quantizer.codebook", "head.kernel"} <= arrays.keys()
    total = sum(jnp.size(leaf) for leaf in jax.tree.leaves(initial_state.params))
    assert sum(array.size for array in arrays.values()) == total


@pytest.mark.parametrize(
    ("field", "value"),
    [("mask_probability", 0.0), ("mask_length", 0), ("gumbel_temperature_end", 3.0)],
)
def test_train_config_refuses_nonsense(field, value):
    with pytest.raises(InputError, match=f"--train.{field.replace('_', '-')} = {value}"):
        W2vBertTrainConfig(**{field: value})
