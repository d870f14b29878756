import jax
import jax.numpy as jnp
import numpy as np

from audiolm_jax.nn.embedding import look_up


def test_rows_are_picked_and_what_has_none_is_nan():
    table = jnp.arange(6.0).reshape(3, 2)
    found = look_up(table, jnp.array([[2, 0, 3]]))
    np.testing.assert_array_equal(found, [[[4, 5], [0, 1], [np.nan, np.nan]]])


def test_a_narrow_row_keeps_what_many_small_gradients_add_to_it():
    """A bfloat16 sum of hundredths ends at 4, where the next one is less than half a unit."""
    table = jnp.zeros((3, 2), jnp.bfloat16)
    ids = jnp.ones((1, 1024), jnp.int32)
    _, pull = jax.vjp(lambda table: look_up(table, ids), table)
    (gradient,) = pull(jnp.full((1, 1024, 2), 0.01, jnp.bfloat16))
    assert gradient.dtype == jnp.bfloat16
    expected = 1024 * float(jnp.bfloat16(0.01))
    np.testing.assert_allclose(gradient.astype(jnp.float32)[1], expected, rtol=2**-8)
    assert not gradient[jnp.array([0, 2])].any()
