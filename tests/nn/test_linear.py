import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from audiolm_jax.nn.linear import Linear, multiply
from audiolm_jax.training.flops import count_flops


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_gradients_of_the_product_are_those_of_matmul():
    x, kernel = random(5, 3), random(3, 4, seed=1)

    def gradients(product):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(product(*a))), argnums=(0, 1))(x, kernel)

    ours = gradients(lambda x, k: multiply(x, k, "float32"))
    for a, b in zip(ours, gradients(jnp.matmul), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_summed_in_float32_and_its_gradients_stay_bfloat16():
    x, kernel = (random(*s).astype(jnp.bfloat16) for s in ((3, 512), (512, 4)))
    exact = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    np.testing.assert_allclose(multiply(x, kernel, "float32"), exact, rtol=1e-5, atol=1e-4)
    gradient = jax.grad(lambda *a: jnp.sum(multiply(*a, "float32") ** 2), argnums=(0, 1))
    assert {a.dtype for a in gradient(x, kernel)} == {jnp.dtype(jnp.bfloat16)}
    lines = str(jax.make_jaxpr(gradient)(x, kernel)).splitlines()
    products = [line for line in lines if "dot_general" in line]
    assert len(products) == 3
    assert sum(":f32" in line.split("=")[0] for line in products) == 1  # the forward one


def test_layer_multiplies_over_all_its_dimensions():
    layer = Linear((2, 3), (4, 5), (None, "kv", "heads", None), "float32", rngs=nnx.Rngs(0))
    x = random(2, 7, 2, 3)
    expected = np.einsum("blij,ijhk->blhk", x, np.asarray(layer.kernel[...]))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    wide = Linear((64,), (256,), ("embed", "mlp"), "float32", rngs=nnx.Rngs(0))
    assert abs(np.std(np.asarray(wide.kernel[...])) * 8 - 1) < 0.05


def test_a_checkpoint_may_keep_the_products():
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable

    def two(x, kernel):
        return jnp.sum(multiply(jnp.sin(multiply(x, kernel, "float32")), kernel, "float32"))

    kept = jax.grad(jax.checkpoint(two, policy=policy), argnums=(0, 1))
    x, kernel = random(5, 3), random(3, 3, seed=1)
    plain = count_flops(jax.grad(two, argnums=(0, 1)), x, kernel)
    # But for the last product, which nothing needs, each runs once.
    assert count_flops(kept, x, kernel) <= plain
