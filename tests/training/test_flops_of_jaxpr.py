"""FLOPs of a jaxpr against counts by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.sharding import Mesh, PartitionSpec

from audiolm_jax.training.flops import count_flops

X = jax.ShapeDtypeStruct((8, 16), jnp.float32)
W = jax.ShapeDtypeStruct((16, 16), jnp.float32)
PRODUCT = 2 * 8 * 16 * 16


def product(x, w):
    return jnp.tanh(x @ w)


def test_products_of_matrices_with_and_without_batch():
    assert count_flops(product, X, W) == PRODUCT
    q = jax.ShapeDtypeStruct((2, 5, 3, 4), jnp.float32)
    k = jax.ShapeDtypeStruct((2, 7, 3, 4), jnp.float32)
    assert count_flops(lambda q, k: jnp.einsum("blhk,bshk->bhls", q, k), q, k) == (
        2 * 2 * 3 * 5 * 7 * 4
    )


def test_a_gradient_costs_two_more_products():
    loss = lambda x, w: product(x, w).sum()  # noqa: E731
    assert count_flops(jax.grad(loss, argnums=(0, 1)), X, W) == 3 * PRODUCT


def test_scan_counts_every_trip():
    def layers(x, w):
        return jax.lax.scan(lambda x, _: (product(x, w), None), x, None, length=5)[0]

    assert count_flops(layers, X, W) == 5 * PRODUCT


def test_rematerialisation_counts_what_runs_again():
    def twice(x, w):
        return product(product(x, w), w).sum()

    again = jax.checkpoint(twice, policy=jax.checkpoint_policies.nothing_saveable)
    assert count_flops(jax.value_and_grad(again, argnums=(0, 1)), X, W) > count_flops(
        jax.value_and_grad(twice, argnums=(0, 1)), X, W
    )


def test_conditionals_count_their_most_expensive_branch():
    def either(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: product(product(x, w), w), lambda: product(x, w))

    assert count_flops(either, X, W) == 2 * PRODUCT


def test_of_branches_for_kinds_of_devices_the_default_counts():
    def either(x, w):
        return jax.lax.platform_dependent(
            x, tpu=lambda x: product(product(x, w), w), default=lambda x: product(x, w)
        )

    assert count_flops(either, X, W) == PRODUCT


def test_a_loop_of_unknown_length():
    def loop(x, w, body):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: body(x, w), x)

    assert count_flops(functools.partial(loop, body=lambda x, w: x - w[:8]), X, W) == 0
    with pytest.raises(ValueError, match="known number of trips"):
        count_flops(functools.partial(loop, body=product), X, W)


def test_calls_of_every_kind():
    @jax.custom_vjp
    def custom(x, w):
        return product(x, w)

    custom.defvjp(lambda x, w: (product(x, w), (x, w)), lambda saved, g: (g @ saved[1].T, None))
    assert count_flops(jax.jit(product), X, W) == PRODUCT
    assert count_flops(custom, X, W) == PRODUCT
    assert count_flops(jax.value_and_grad(lambda x, w: custom(x, w).sum()), X, W) == 2 * PRODUCT


def test_what_no_result_depends_on_counts_nothing():
    @jax.custom_vjp
    def custom(x, w):
        return x @ w

    # Both gradients are written, whichever is wanted.
    custom.defvjp(lambda x, w: (x @ w, (x, w)), lambda saved, g: (g @ saved[1].T, saved[0].T @ g))
    loss = lambda x, w: (custom(x, w) ** 2).sum()  # noqa: E731
    assert count_flops(jax.grad(loss), X, W) == 2 * PRODUCT
    assert count_flops(jax.grad(loss, argnums=(0, 1)), X, W) == 3 * PRODUCT


def test_shards_count_as_often_as_there_are_devices():
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    spec = PartitionSpec("data")
    mapped = jax.shard_map(
        product, mesh=mesh, in_specs=(spec, PartitionSpec()), out_specs=spec, check_vma=False
    )
    assert count_flops(mapped, X, W) == PRODUCT


def test_a_kernel_counts_what_it_states():
    def kernel(x, w, out):
        out[...] = x[...] @ w[...]

    def call(cost, x, w):
        return pl.pallas_call(kernel, out_shape=X, cost_estimate=cost, interpret=True)(x, w)

    cost = pl.CostEstimate(flops=1234, transcendentals=0, bytes_accessed=0)
    assert count_flops(functools.partial(call, cost), X, W) == 1234
    with pytest.raises(ValueError, match="kernel"):
        count_flops(functools.partial(call, None), X, W)


def conv(x, w, **options):
    return jax.lax.conv_general_dilated(x, w, dimension_numbers=("NHC", "HIO", "NHC"), **options)


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_convolutions_count_real_inputs_only():
    x, w = array(2, 10, 3), array(4, 3, 5)
    pairs = 2 * 3 * 5 * 2
    valid = functools.partial(conv, window_strides=(1,), padding="VALID")
    assert count_flops(valid, x, w) == pairs * 7 * 4
    causal = functools.partial(conv, window_strides=(1,), padding=[(3, 0)])
    assert count_flops(causal, x, w) == pairs * (10 * 4 - (3 + 2 + 1))
    strided = functools.partial(conv, window_strides=(2,), padding="VALID")
    assert count_flops(strided, x, w) == pairs * 4 * 4
    spread = functools.partial(conv, window_strides=(1,), padding="VALID", rhs_dilation=(2,))
    assert count_flops(spread, x, w) == pairs * 4 * 4
    # Every input meets every tap once; the zeros between inputs meet nothing.
    transposed = functools.partial(conv, window_strides=(1,), padding=[(3, 3)], lhs_dilation=(2,))
    assert count_flops(transposed, x, w) == pairs * 10 * 4


@pytest.mark.parametrize("groups", [1, 3])
def test_both_gradients_of_a_convolution_cost_what_it_costs(groups):
    x, w = array(2, 20, 6), array(4, 6 // groups, 9)
    forward = functools.partial(
        conv, window_strides=(2,), padding="VALID", feature_group_count=groups
    )
    once = count_flops(forward, x, w)
    assert once == 2 * 2 * 9 * 4 * (6 // groups) * 9
    gradient = jax.value_and_grad(lambda x, w: forward(x, w).sum(), argnums=(0, 1))
    assert count_flops(gradient, x, w) == 3 * once


def test_two_dimensions():
    x, w = array(1, 8, 6, 2), array(3, 2, 2, 4)
    flops = count_flops(
        lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
        x,
        w,
    )
    assert flops == 2 * 2 * 4 * (6 * 3) * (3 * 2)
