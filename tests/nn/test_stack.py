import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

from audiolm_jax.nn.feed_forward import GatedFeedForward, gated_gelu
from audiolm_jax.nn.flash.attention import flash_causal_attention
from audiolm_jax.nn.stack import init_stack, run_stack, unstack

LAYERS = 3


@pytest.fixture(scope="module")
def stacked():
    return init_stack(
        lambda key: GatedFeedForward(6, 8, "float32", rngs=nnx.Rngs(params=key)),
        jax.random.key(0),
        LAYERS,
    )


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (2, 5, 6))


def test_layers_are_initialized_differently(stacked):
    kernel = np.asarray(stacked.down.kernel[...])
    assert kernel.shape == (LAYERS, 8, 6)
    assert (kernel[0] != kernel[1]).mean() > 0.9


def test_annotations_gain_and_lose_the_layer_axis(stacked):
    names = stacked.up.kernel.get_metadata()["out_sharding"]
    assert names == ("layers", "embed", "mlp")
    assert unstack(stacked)[0].up.kernel.get_metadata()["out_sharding"] == ("embed", "mlp")
    assert stacked.up.kernel.get_metadata()["out_sharding"] == names


def test_unstacked_layers_hold_their_own_arrays(stacked):
    layers = unstack(stacked)
    assert len(layers) == LAYERS
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.up.kernel[...], stacked.up.kernel[...][i])


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("remat", ["none", "dots", "products", "kernels", "full"])
def test_scan_and_remat_change_no_number(stacked, x, remat, scan):
    scale = jnp.array([0.5, 1.0, 2.0])

    def apply(layer, x, scale):
        return x + scale * layer(x)

    def stepped(state):
        return run_stack(apply, nnx.merge(graphdef, state), x, scale, remat, scan)

    def unrolled(state):
        out = x
        for i, layer in enumerate(unstack(nnx.merge(graphdef, state))):
            out = apply(layer, out, scale[i])
        return out

    def result_and_gradients(run, state):
        def loss(state):
            out = run(state)
            return jnp.sum(out**2), out

        (_, out), gradients = jax.value_and_grad(loss, has_aux=True)(state)
        return out, gradients

    graphdef, state = nnx.split(stacked)
    found, expected = jax.jit(
        lambda state: [result_and_gradients(run, state) for run in (stepped, unrolled)]
    )(state)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (found[1], expected[1])), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize(
    ("remat", "kept"),
    [
        ("none", ["input", "key", "lse", "mixed", "query", "value"]),
        ("dots", ["input", "lse", "mixed", "product"]),
        ("products", ["input", "key", "lse", "mixed", "query", "value"]),
        ("kernels", ["input", "lse", "mixed"]),
        ("full", ["input"]),
    ],
)
def test_remat_decides_what_the_backward_pass_keeps(remat, kept, capsys):
    """A layer of every kind of result: told apart by shape, but for the four of attention."""
    batch, length, heads, width = 1, 64, 2, 4
    weights = jax.random.normal(jax.random.key(2), (LAYERS, 8, 8))

    def apply(weight, x, _):
        product = (x @ weight).reshape(batch, length, heads, width)
        return x + flash_causal_attention(
            product, product, product, None, block=128, interpret=True
        ).reshape(x.shape)

    def loss(weights, x):
        return jnp.sum(run_stack(apply, weights, x, remat=remat) ** 2)

    print_saved_residuals(loss, weights, jnp.ones((batch, length, heads * width)))
    saved = [
        line.split()[0] for line in capsys.readouterr().out.splitlines() if "output of scan" in line
    ]
    shapes = {
        "input": (batch, length, heads * width),
        "product": (batch, length, heads * width),
        "lse": (batch, heads, 1, length),
        **dict.fromkeys(["mixed", "query", "key", "value"], (batch, heads, width, length)),
    }
    expected = [f"f32[{','.join(map(str, (LAYERS, *shapes[name])))}]" for name in kept]
    assert sorted(saved) == sorted(expected)


@pytest.mark.parametrize(("remat", "wide"), [("products", 2), ("kernels", 0)])
def test_gate_and_up_are_kept_with_products_alone(remat, wide, capsys):
    layer = GatedFeedForward(8, 24, "float32", rngs=nnx.Rngs(params=0))
    graphdef, state = nnx.split(layer)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * LAYERS), state)

    def loss(stacked, x):
        apply = lambda state, x, _: x + nnx.merge(graphdef, state)(x)  # noqa: E731
        return jnp.sum(run_stack(apply, stacked, x, remat=remat) ** 2)

    print_saved_residuals(loss, stacked, jnp.ones((2, 5, 8)))
    assert capsys.readouterr().out.count(f"f32[{LAYERS},2,5,24]") == wide


@pytest.mark.parametrize("remat", ["none", "full"])
def test_without_a_scan_each_layer_is_traced_and_keeps_what_remat_says(remat, capsys):
    weights, x = jnp.ones((LAYERS, 8, 8)), jnp.ones((5, 8))

    def loss(weights, x):
        apply = lambda weight, x, _: jnp.sin(jnp.tanh(x @ weight))  # noqa: E731
        return jnp.sum(run_stack(apply, weights, x, remat=remat, scan=False) ** 2)

    text = str(jax.make_jaxpr(jax.grad(loss))(weights, x))
    assert "scan[" not in text
    print_saved_residuals(loss, weights, x)
    lines = capsys.readouterr().out.splitlines()
    # Of each layer but the first the input, and the last one's output, which is squared.
    made = [line for line in lines if line.startswith("f32[5,8]") and "argument" not in line]
    assert (len(made) == LAYERS) == (remat == "full")


def test_gated_feed_forward_is_its_definition(x):
    module = GatedFeedForward(6, 8, "float32", rngs=nnx.Rngs(0))
    gate, up, down = (
        np.asarray(part.kernel[...]) for part in (module.gate, module.up, module.down)
    )
    gate = np.asarray(x) @ gate
    gelu = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    np.testing.assert_allclose(module(x), (gelu * (np.asarray(x) @ up)) @ down, atol=1e-5)


def test_gradient_of_the_gate_is_that_of_its_definition():
    gate, up, of_result = jax.random.normal(jax.random.key(4), (3, 4, 5, 6)) * 3

    def plain(gate, up):
        return jax.nn.gelu(gate, approximate=True) * up

    expected = jax.vjp(plain, gate, up)[1](of_result)
    for got, wanted in zip(jax.vjp(gated_gelu, gate, up)[1](of_result), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
