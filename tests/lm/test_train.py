import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.data.tokens.sequences import build_sequences, shifted
from audiolm_jax.errors import InputError
from audiolm_jax.lm import decoder
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.lm.losses import token_losses
from audiolm_jax.lm.train import (
    LENGTH_MULTIPLES,
    align,
    begin_at_centroids,
    hide_conditions,
    program,
)
from audiolm_jax.nn.partition import logical_to_spec, use_rules
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.stages import (
    FIRST_ID,
    StageConfig,
    build_sequence,
    level_rows,
    without_condition,
)
from audiolm_jax.types import TokenBatch

STAGE = StageConfig(
    "coarse", semantic_clusters=8, codebook_size=4, levels=4, coarse_levels=2, crop_seconds=0.2
)
DECODER = DecoderConfig(layers=2, heads=2, head_width=8, width=16, ff_width=16, dropout=0.1)
CONFIG = StageModelConfig(STAGE, DECODER)
LENGTH = STAGE.max_tokens - 1


def make_batch(seed, rows=8):
    """Sequences of unequal length; every third recording goes on after its window."""
    rng = np.random.default_rng(seed)
    batch = TokenBatch(
        np.zeros((rows, LENGTH), np.int32),
        np.zeros((rows, LENGTH), np.int32),
        np.zeros((rows, LENGTH), np.float32),
        np.zeros((rows, LENGTH), np.int32),
    )
    for row in range(rows):
        u = int(rng.integers(1, STAGE.crop_semantic + 1))
        ends = row % 3 > 0
        clusters = rng.integers(0, 8, u)
        sequence = build_sequence(clusters, rng.integers(0, 4, (2 * u, 4)), ends, STAGE)
        tokens, start = sequence.tokens, sequence.target_start
        last = len(tokens) - 1
        batch.inputs[row, :last] = tokens[:-1]
        batch.targets[row, :last] = tokens[1:]
        batch.loss_weights[row, start - 1 : last] = 1
        batch.levels[row, start - 1 : last] = level_rows(len(tokens) - start, ends, STAGE)
    return batch


@pytest.fixture(scope="module")
def trainer():
    return program(CONFIG, StageTrainConfig(), optax.adam(3e-3))


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_units_that_sound_alike_begin_alike(name):
    """Embeddings of units keep the angles of their centroids; all else begins as it would."""
    rng = np.random.default_rng(0)
    centroids = 5 + rng.normal(0, 3, (8, 40))
    centroids[1] = centroids[0] + rng.normal(0, 0.1, 40)
    wide = dataclasses.replace(DECODER, width=512)
    model = StageModelConfig(dataclasses.replace(STAGE, name=name), wide)
    key = jax.random.key(3)
    plain = jax.jit(lambda key: nnx.state(decoder.make_decoder(model, key)))(key)
    begin = jax.jit(
        lambda params, key: begin_at_centroids(params, key, model, jnp.asarray(centroids))
    )
    before, after = named_leaves(plain), named_leaves(begin(plain, key))
    units, changed = slice(FIRST_ID, FIRST_ID + 8), set()
    for leaf, old in before.items():
        new, old = np.asarray(after[leaf]), np.asarray(old)
        if np.allclose(new, old, atol=1e-6):
            continue
        changed.add(leaf)
        rows, others = (new, old) if leaf.startswith("embedding") else (new.T, old.T)
        kept = np.delete(np.arange(len(rows)), np.r_[units])
        np.testing.assert_allclose(rows[kept], others[kept], atol=1e-6)
        rows = rows[units]
        assert 0.8 < rows.std() / others[units].std() < 1.25
        centered = centroids - centroids.mean(axis=0)
        cosines = [
            x @ x.T for x in (y / np.linalg.norm(y, axis=1)[:, None] for y in (rows, centered))
        ]
        assert cosines[0][0, 1] > 0.99
        assert np.abs(cosines[0] - cosines[1]).max() < 0.15
    expected = {
        "semantic": {"embedding.embedding", "output.kernel"},
        "coarse": {"embedding.embedding"},
    }
    assert changed == expected.get(name, set())


@pytest.fixture(scope="module")
def step(trainer):
    return jax.jit(trainer.step)


@pytest.fixture(scope="module")
def start(trainer):
    return jax.jit(trainer.init)(jax.random.key(0))


@pytest.mark.slow
def test_a_few_steps_learn_the_batch(trainer, step, start):
    state, batch = start, make_batch(0)
    losses = []
    for i in range(40):
        state, metrics = step(state, batch, jax.random.fold_in(jax.random.key(1), i))
        losses.append(float(metrics["loss"]))
    assert losses[0] < 1.6 * np.log(STAGE.vocab_size)
    assert losses[-1] < 0.6 * losses[0]
    assert int(state.step) == 40
    assert set(metrics) == {
        "loss", "z_loss", "accuracy", "grad_norm", "param_norm",
        "loss/level_0", "loss/level_1", "loss/end",
        *(f"{n}_norm/{group}" for n in ("grad", "param") for group in state.params),
    }  # fmt: skip


# Recorded with JAX 0.10.2 on a CPU.
GOLDEN = {
    "loss": 3.609307,
    "z_loss": 11.91465,
    "grad_norm": 1.513024,
    "param_norm": 25.94709,
    "loss of the next step": 3.434912,
}


def test_the_first_step_computes_what_it_always_did(step, start):
    state, metrics = step(start, make_batch(9), jax.random.key(0))
    _, following = step(state, make_batch(10), jax.random.key(1))
    found = {**metrics, "loss of the next step": following["loss"]}
    for name, value in GOLDEN.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5), (
            f"{name}: the maths of a training step changed: if meant, record the new value and say "
            "so in CHANGELOG"
        )


def test_same_key_same_bits(step, start):
    batch = make_batch(1)
    one, _ = step(start, batch, jax.random.key(5))
    two, _ = step(start, batch, jax.random.key(5))
    other, _ = step(start, batch, jax.random.key(6))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.params["output"]["kernel"][...] != other.params["output"]["kernel"][...]).any()


@pytest.mark.slow
def test_lengthened_rows_teach_the_same():
    quiet = program(
        dataclasses.replace(CONFIG, decoder=dataclasses.replace(DECODER, dropout=0.0)),
        StageTrainConfig(),
        optax.sgd(1.0),
    )
    begin = jax.jit(quiet.init)(jax.random.key(3))
    batch = make_batch(7)
    tile = LENGTH_MULTIPLES["flash"]
    long = align(batch, tile)
    assert LENGTH % tile
    assert long.inputs.shape[1] == -(-LENGTH // tile) * tile
    assert align(long, tile).targets.shape == long.targets.shape
    (one, metrics), (two, other) = (
        jax.jit(quiet.step)(begin, rows, jax.random.key(0)) for rows in (batch, long)
    )
    for name in metrics:
        np.testing.assert_allclose(metrics[name], other[name], rtol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_condition_separator_and_padding_have_no_say(step, start):
    """Their targets and levels may hold anything; so may inputs after the last weighted target."""
    batch, key = make_batch(2), jax.random.key(0)
    idle = batch.loss_weights == 0
    rng = np.random.default_rng(0)
    tail = np.cumsum(batch.loss_weights[:, ::-1], axis=1)[:, ::-1] == 0
    hostile = dataclasses.replace(
        batch,
        targets=np.where(idle, rng.integers(0, STAGE.vocab_size, idle.shape), batch.targets),
        levels=np.where(idle, rng.integers(0, 3, idle.shape), batch.levels),
        inputs=np.where(tail, rng.integers(0, STAGE.vocab_size, idle.shape), batch.inputs),
    )
    hostile = jax.tree.map(lambda a, b: a.astype(b.dtype), hostile, batch)
    one, metrics = step(start, batch, key)
    two, other = step(start, hostile, key)
    assert metrics.keys() == other.keys()
    for name in metrics:
        np.testing.assert_allclose(metrics[name], other[name], rtol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_a_hidden_condition_is_hidden_whole_and_nothing_else(name):
    stage = dataclasses.replace(STAGE, name=name, condition_dropout=0.3)
    rng = np.random.default_rng(0)
    windows = [(rng.integers(0, 8, 5), rng.integers(0, 4, (10, 4)), True) for _ in range(400)]
    batch = shifted(build_sequences(windows, stage))
    found = np.asarray(hide_conditions(batch, jax.random.key(3), 0.3).inputs)
    is_hidden = np.array([(a != b).any() for a, b in zip(batch.inputs, found, strict=True)])
    assert 0.2 < is_hidden.mean() < 0.4
    hidden = np.stack([without_condition(row) for row in batch.inputs])
    np.testing.assert_array_equal(found, np.where(is_hidden[:, None], hidden, batch.inputs))
    again = hide_conditions(batch, jax.random.key(3), 0.3).inputs
    np.testing.assert_array_equal(found, again)
    assert (found != hide_conditions(batch, jax.random.key(4), 0.3).inputs).any()


def test_a_step_hides_conditions_and_an_evaluation_does_not(start, step):
    stage = dataclasses.replace(STAGE, condition_dropout=0.5)
    config = dataclasses.replace(CONFIG, stage=stage)
    hiding = program(config, StageTrainConfig(), optax.adam(3e-3))
    batch, key = make_batch(0), jax.random.key(1)
    own = jax.random.fold_in(key, 1)
    hidden = hide_conditions(batch, own, 0.5)
    assert (np.asarray(hidden.inputs) != batch.inputs).any()
    _, expected = step(start, hidden, key)
    _, metrics = jax.jit(hiding.step)(start, batch, key)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
    assert metrics["loss"] != step(start, batch, key)[1]["loss"]
    plain = program(CONFIG, StageTrainConfig(), optax.adam(3e-3))
    one, two = (jax.jit(p.evaluate)(start, batch).totals["loss"] for p in (hiding, plain))
    assert one == two


@pytest.mark.parametrize("changes", [{"name": "semantic"}, {"semantic_condition": False}])
def test_a_stage_without_a_condition_hides_none(changes):
    with pytest.raises(InputError, match=r"^--model\.stage\.condition-dropout 0\.1: .* expected 0"):
        dataclasses.replace(STAGE, condition_dropout=0.1, **changes)


def test_batches_without_end_tokens_or_without_any_token_stay_finite(trainer, step, start):
    batch = make_batch(3)
    no_end = dataclasses.replace(
        batch, loss_weights=batch.loss_weights * (batch.levels != 2).astype(np.float32)
    )
    _, metrics = step(start, no_end, jax.random.key(0))
    assert metrics["loss/end"] == 0
    assert metrics["loss/level_1"] > 0
    assert all(np.isfinite(value) for value in metrics.values())
    nothing = dataclasses.replace(batch, loss_weights=np.zeros_like(batch.loss_weights))
    state, metrics = step(start, nothing, jax.random.key(0))
    assert metrics["grad_norm"] == 0
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(state.params))


def test_evaluation_adds_up_over_batches_and_matches_the_exported_model(trainer, start):
    evaluate = jax.jit(trainer.evaluate)
    whole = make_batch(4)
    halves = [jax.tree.map(lambda a, s=s: a[s], whole) for s in (slice(0, 5), slice(5, 8))]
    together = evaluate(start, whole)
    apart = [evaluate(start, half) for half in halves]
    for name in ("loss", "accuracy", "loss/level_0", "loss/level_1", "loss/end"):
        assert together.counts[name] == sum(sums.counts[name] for sums in apart)
        np.testing.assert_allclose(
            together.totals[name], sum(sums.totals[name] for sums in apart), rtol=1e-4
        )
    graphdef, params = load_decoder(CONFIG, jax.device_get(trainer.export(start)))
    logits = jax.jit(lambda params: nnx.merge(graphdef, params)(whole.inputs))(params)
    losses = token_losses(logits, whole.targets).cross_entropy
    member = (whole.loss_weights > 0) & (whole.levels == 1)
    np.testing.assert_allclose(
        together.totals["loss/level_1"], np.asarray(losses)[member].sum(), rtol=1e-4
    )
    assert together.counts["loss/level_1"] == member.sum()


@pytest.mark.slow  # compiles a second step
def test_the_z_loss_pulls_the_normalizer_towards_one(step, start):
    batch, sizes = make_batch(5), []
    heavy = jax.jit(program(CONFIG, StageTrainConfig(1.0), optax.adam(3e-3)).step)
    for run in (step, heavy):
        state = start
        for _ in range(20):
            state, metrics = run(state, batch, jax.random.key(0))
        sizes.append(float(metrics["z_loss"]))
    assert sizes[1] < 0.8 * sizes[0]
    with pytest.raises(InputError, match=r"^train.z_loss_weight = -1"):
        StageTrainConfig(-1)


def test_micro_batches_change_neither_loss_nor_gradient_whatever_the_weights(start):
    """The parts have unlike numbers of weighted tokens; one has none at all."""
    config = dataclasses.replace(CONFIG, decoder=dataclasses.replace(DECODER, dropout=0.0))
    batch = make_batch(8)
    weights = batch.loss_weights * np.linspace(0.25, 2, 8, dtype=np.float32)[:, None]
    weights[1::4] = 0
    batch = dataclasses.replace(batch, loss_weights=weights)
    results = [
        jax.jit(program(config, StageTrainConfig(0.1, parts), optax.sgd(1.0)).step)(
            dataclasses.replace(start, opt_state=optax.sgd(1.0).init(start.params)),
            batch,
            jax.random.key(0),
        )
        for parts in (1, 4)
    ]
    (whole, metrics), (parts, others) = results
    for name, value in metrics.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-5, err_msg=name)
    before, *after = (jax.tree.leaves(state.params) for state in (start, whole, parts))
    for old, a, b in zip(before, *after, strict=True):
        step = np.abs(np.asarray(a) - old).max()
        assert step > 0
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4 * step)


def test_every_place_of_dropout_draws_from_a_key_of_its_own(monkeypatch, start):
    """The embedding and both branches of each layer, in each part of the batch."""
    seen = []

    def watched(x, rate, key):
        jax.debug.callback(
            lambda words: seen.append(tuple(map(int, words))), jax.random.key_data(key)
        )
        return x

    monkeypatch.setattr(decoder, "dropout", watched)
    parts = 2
    step = program(CONFIG, StageTrainConfig(micro_batches=parts), optax.adam(3e-3)).step
    loss = jax.jit(lambda *arguments: step(*arguments)[1]["loss"])
    jax.block_until_ready(loss(start, make_batch(1), jax.random.key(4)))
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == parts * (1 + 2 * DECODER.layers)


def test_micro_batches_that_do_not_divide_are_refused(start):
    step = program(CONFIG, StageTrainConfig(micro_batches=3), optax.adam(3e-3)).step
    with pytest.raises(InputError, match=r"^train.micro_batches = 3: .* 8 rows; choose .* of 3"):
        jax.eval_shape(step, start, make_batch(0), jax.random.key(0))
    with pytest.raises(InputError, match=r"^train.micro_batches = 0: expected at least 1"):
        StageTrainConfig(micro_batches=0)


def test_eight_devices_take_the_same_step(trainer, step, start):
    """Batch, weights and vocabulary split over a 2 x 2 x 2 mesh."""
    rules = {
        "batch": ("data", "fsdp"),
        "length": None,
        "embed": "fsdp",
        "mlp": "model",
        "heads": "model",
        "kv": None,
        "vocab": "model",
        "layers": None,
    }
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "model"), axis_types=(AxisType.Auto,) * 3)
    batch, key = make_batch(6), jax.random.key(7)
    expected, expected_metrics = step(start, batch, key)

    def place(leaf):
        names = leaf.get_metadata().get("out_sharding") if isinstance(leaf, nnx.Variable) else ()
        sharding = NamedSharding(mesh, logical_to_spec(tuple(names or ()), rules))
        return jax.device_put(leaf, sharding)

    state = jax.tree.map(place, start, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec(("data", "fsdp"))))
    with jax.set_mesh(mesh), use_rules(rules):
        after, metrics = jax.jit(trainer.step)(state, spread, key)
    kernel = after.params["layers"]["feed_forward"]["down"]["kernel"][...]
    assert len({str(shard.index) for shard in kernel.addressable_shards}) == 4
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    # Adam's first update is +-lr whatever the gradient's size: compare what it made of gradients.
    moments = [jax.tree.leaves(state.opt_state[0].mu) for state in (expected, after)]
    for a, b in zip(*moments, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1e-6, np.abs(a).max()))
