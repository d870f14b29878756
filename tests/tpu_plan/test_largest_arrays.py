import jax
import jax.numpy as jnp

from audiolm_jax.tpu_plan.largest_arrays import largest_results


def test_residuals_and_products_of_loops_and_calls_by_size():
    def step(w, x):
        @jax.checkpoint
        def layer(x, w):
            with jax.named_scope("layer"):
                return jnp.tanh(x @ w), x

        def loss(w):
            y, kept = jax.lax.scan(layer, x, w)
            return jnp.sum(y) + jnp.sum(kept)

        return jax.value_and_grad(loss)(w)

    w = jax.ShapeDtypeStruct((7, 16, 16), jnp.float32)
    x = jax.ShapeDtypeStruct((1000, 16), jnp.bfloat16)
    found = largest_results(jax.make_jaxpr(jax.jit(step))(w.update(dtype=jnp.bfloat16), x).jaxpr, 4)
    sizes = [size for size, _, _ in found]
    assert sizes == sorted(sizes, reverse=True)
    assert found[0][:2] == (7 * 1000 * 16 * 2, "bfloat16[7,1000,16]")
    assert found[0][2].endswith("scan")
    products = [one for one in found if "layer" in one[2] and one[2].endswith("dot_general")]
    assert products[0][:2] == (1000 * 16 * 2, "bfloat16[1000,16]")


def test_values_that_may_be_fused_away_do_not_count():
    def fused(x):
        return jnp.sum(jnp.exp(x[:, None] * x[None]))

    assert largest_results(jax.make_jaxpr(fused)(jnp.ones(100)).jaxpr, 4) == []
