import jax
import jax.numpy as jnp
import numpy as np
import optax

from audiolm_jax.training.update import apply_gradients, moving_average


def test_gradients_move_parameters_and_are_measured_before_clipping():
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))
    params = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    moved, _, norms = apply_gradients(optimizer, params, optimizer.init(params), params)
    np.testing.assert_allclose([*moved["a"], *moved["b"]], [2.94, 3.92], rtol=1e-6)
    np.testing.assert_allclose(norms["grad_norm"], 5)
    np.testing.assert_allclose(norms["param_norm/b"], 3.92, rtol=1e-6)


def test_moving_average_rounds_as_it_always_did():
    old, new = jax.random.normal(jax.random.key(0), (2, 1000))
    average = jax.jit(lambda a, b: moving_average({"x": a}, {"x": b}, 0.99)["x"])(old, new)
    expected = jax.jit(lambda a, b: 0.99 * a + (1 - 0.99) * b)(old, new)
    np.testing.assert_array_equal(average, expected)
