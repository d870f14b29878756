import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import audiolm_jax.nn.partition  # noqa: F401 - lets variables be annotated without a mesh
from audiolm_jax.errors import InputError
from audiolm_jax.training.config import OptimizerConfig
from audiolm_jax.training.optim import learning_rate_schedule, make_optimizer
from audiolm_jax.training.update import norms


def test_warmup_grows_linearly_and_its_first_step_moves():
    schedule = learning_rate_schedule(OptimizerConfig(learning_rate=2.0, warmup_steps=4))
    np.testing.assert_allclose([schedule(s) for s in range(6)], [0.5, 1, 1.5, 2, 2, 2])


def test_cosine_ends_at_its_fraction_and_stays():
    schedule = learning_rate_schedule(
        OptimizerConfig(
            learning_rate=2.0, warmup_steps=2, schedule="cosine", total_steps=10, final_fraction=0.1
        )
    )
    np.testing.assert_allclose(
        [schedule(1), schedule(5), schedule(9), schedule(50)], [2, 1.1, 0.2, 0.2], rtol=1e-6
    )


def test_rsqrt_falls_with_the_root_of_the_step():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=100, schedule="rsqrt")
    schedule = learning_rate_schedule(config)
    np.testing.assert_allclose([schedule(99), schedule(399)], [1.0, 0.5], rtol=1e-6)


def test_schedule_is_the_rate_that_the_optimizer_uses():
    config = OptimizerConfig(learning_rate=0.3, warmup_steps=3, clip_norm=None)
    optimizer, schedule = make_optimizer(config), learning_rate_schedule(config)
    params = jnp.zeros(2)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for step in range(5):
        # With a constant gradient Adam's step is the rate itself.
        updates, state = update(jnp.ones(2), state, params)
        np.testing.assert_allclose(updates, -schedule(step) * np.ones(2), rtol=1e-4)


def first_update(optimizer, gradients, params):
    """What the optimizer adds to the parameters at its first step."""
    return jax.jit(lambda: optimizer.update(gradients, optimizer.init(params), params)[0])()


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_weight_decay_spares_biases_and_scales(kind):
    config = OptimizerConfig(kind, learning_rate=0.1, warmup_steps=0, weight_decay=0.5)
    optimizer = make_optimizer(config)
    params = nnx.State(
        {
            "kernel": nnx.Param(jnp.ones((2, 3)), out_sharding=("embed", "mlp")),
            "bias": nnx.Param(jnp.ones(3)),
            "stacked_scale": nnx.Param(jnp.ones((2, 3)), out_sharding=("layers", "embed")),
            "stacked_kernel": nnx.Param(jnp.ones((2, 3, 4)), out_sharding=("layers", None, "mlp")),
        }
    )
    updates = first_update(optimizer, jax.tree.map(np.zeros_like, params), params)
    moved = {name: bool(np.any(np.asarray(updates[name].get_value()) != 0)) for name in params}
    assert moved == {
        "kernel": True,
        "bias": False,
        "stacked_scale": False,
        "stacked_kernel": True,
    }


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_weight_decay_is_per_unit_of_learning_rate(kind):
    config = OptimizerConfig(kind, learning_rate=0.01, warmup_steps=0, weight_decay=0.1)
    optimizer, params = make_optimizer(config), jnp.linspace(-2.0, 3.0, 6).reshape(2, 3)
    updates = first_update(optimizer, jnp.zeros_like(params), params)
    np.testing.assert_allclose(updates, -0.001 * params, rtol=1e-5)


def test_adafactor_sees_each_layer_and_each_kernel_as_a_matrix():
    """Against optax, which knows no stacks, on the matrices themselves; layers of unlike size."""
    config = OptimizerConfig("adafactor", learning_rate=0.1, warmup_steps=0, b1=0.9, clip_norm=None)
    shapes = {
        "query": ((2, 128, 8, 20), ("layers", "embed", "heads", "kv"), (128, 160)),
        "out": ((2, 8, 20, 128), ("layers", "heads", "kv", "embed"), (160, 128)),
        "small": ((2, 128, 6), ("layers", "embed", "mlp"), (128, 6)),
        "scale": ((2, 128), ("layers", "embed"), (128,)),
        "table": ((130, 128), ("vocab", "embed"), (130, 128)),
    }
    rng = np.random.default_rng(0)
    sizes = {1: np.array([1.0]), 2: np.array([0.05, 3.0])}

    def draw(spread):
        tree = {}
        for name, (shape, names, _) in shapes.items():
            size = sizes[shape[0] if names[0] == "layers" else 1].reshape(
                -1, *[1] * (len(shape) - 1)
            )
            values = rng.normal(size=shape) * rng.lognormal(sigma=spread, size=shape) * size
            tree[name] = nnx.Param(jnp.asarray(values, jnp.float32), out_sharding=names)
        return nnx.State(tree)

    def apart(tree):
        return {
            name: [
                np.asarray(part).reshape(matrix) for part in tree[name][...].reshape(-1, *matrix)
            ]
            for name, (_, _, matrix) in shapes.items()
        }

    ours, theirs = make_optimizer(config), optax.adafactor(0.1, momentum=0.9)
    params = draw(0.0)
    matrices = apart(params)
    state, their_state = jax.jit(ours.init)(params), jax.jit(theirs.init)(matrices)
    our_update, their_update = jax.jit(ours.update), jax.jit(theirs.update)
    for _ in range(3):
        grads = draw(1.0)
        updates, state = our_update(grads, state, params)
        expected, their_state = their_update(apart(grads), their_state, matrices)
        for a, b in zip(jax.tree.leaves(apart(updates)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    factored = state[0].rows["query"][...].size + state[0].columns["query"][...].size
    assert factored == 2 * (128 + 160)


def test_gradients_are_clipped_by_their_global_norm():
    # Clipping shows in Adam's first moment.
    optimizer = make_optimizer(OptimizerConfig(clip_norm=1.0, b1=0.9))
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    grads = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    _, state = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
    np.testing.assert_allclose(state[1][0].mu["a"], [0.06], rtol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_optimizers_reduce_a_quadratic(kind):
    optimizer = make_optimizer(OptimizerConfig(kind, learning_rate=0.05, warmup_steps=1))
    params = jnp.linspace(1.0, 2.0, 8)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for _ in range(100):
        updates, state = update(2 * params, state, params)
        params = optax.apply_updates(params, updates)
    assert float(jnp.sum(params**2)) < 1.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"learning_rate": 0.0}, "--optimizer.learning-rate 0.0"),
        ({"learning_rate": float("nan")}, "--optimizer.learning-rate nan"),
        ({"warmup_steps": -1}, "--optimizer.warmup-steps -1"),
        ({"schedule": "cosine"}, "--optimizer.total-steps None"),
        ({"schedule": "constant", "total_steps": 5}, "--optimizer.total-steps 5"),
        (
            {"schedule": "cosine", "total_steps": 100, "warmup_steps": 100},
            "--optimizer.total-steps 100",
        ),
        ({"schedule": "rsqrt", "warmup_steps": 0}, "--optimizer.warmup-steps 0"),
        ({"b1": 1.0}, "--optimizer.b1 1.0"),
        ({"clip_norm": 0.0}, "--optimizer.clip-norm 0.0"),
        ({"weight_decay": -0.1}, "--optimizer.weight-decay -0.1"),
        ({"final_fraction": 1.5}, "--optimizer.final-fraction 1.5"),
    ],
)
def test_config_refuses(fields, words):
    with pytest.raises(InputError) as error:
        OptimizerConfig(**fields)
    assert words in str(error.value)


def test_norms_are_global_and_of_each_module():
    grads = nnx.State({"a": {"w": nnx.Param(jnp.array([3.0]))}, "b": nnx.Param(jnp.array([4.0]))})
    params = jax.tree.map(lambda x: 2 * x, grads)
    found = {name: float(x) for name, x in norms(grads, params).items()}
    assert found == {
        "grad_norm": 5, "grad_norm/a": 3, "grad_norm/b": 4,
        "param_norm": 10, "param_norm/a": 6, "param_norm/b": 8,
    }  # fmt: skip
