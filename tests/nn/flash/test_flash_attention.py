"""The kernels in interpret mode against plain attention: same values, same gradients."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.nn.attention import causal_attention
from audiolm_jax.nn.flash.attention import flash_causal_attention
from audiolm_jax.nn.flash.cost import FlashKernel
from audiolm_jax.nn.partition import on_each_device
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import RULES, make_mesh, use_mesh


def random_inputs(seed, length, known, batch=2, heads=2, head_width=16, dtype="float32"):
    """Queries, keys, values, a table by distance, and an output gradient."""
    keys = jax.random.split(jax.random.key(seed), 5)
    shape = (batch, length, heads, head_width)
    q, k, v, d_out = (jax.random.normal(key, shape).astype(dtype) for key in keys[:4])
    return (q, k, v, 2 * jax.random.normal(keys[4], (heads, known))), d_out


def flash(*inputs, block=128):
    return flash_causal_attention(*inputs, block=block, interpret=True)


def value_and_gradients(attention, inputs, d_out):
    @jax.jit
    def run(inputs, d_out):
        out, pull = jax.vjp(attention, *inputs)
        return out, *pull(d_out)

    return [np.asarray(x, np.float32) for x in run(inputs, d_out)]


def assert_equal_attention(inputs, d_out, tolerance, block=128):
    exact = [x.astype(jnp.float32) for x in inputs]
    expected = value_and_gradients(causal_attention, exact, d_out.astype(jnp.float32))
    found = value_and_gradients(lambda *x: flash(*x, block=block), inputs, d_out)
    for name, a, b in zip(["value", "dq", "dk", "dv", "dbias"], found, expected, strict=True):
        assert np.isfinite(a).all(), name
        error = np.abs(a - b).max() / max(np.abs(b).max(), 1.0)
        assert error < tolerance, (name, error)


@pytest.mark.parametrize(
    ("length", "known", "block"),
    [
        pytest.param(1, 129, 128, marks=pytest.mark.slow),  # a table longer than the sequence
        (401, 5, 128),  # diagonal, beside, far and a last block begun; a table shorter than a tile
        # A table that needs larger tiles.
        pytest.param(300, 200, 128, marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_are_those_of_plain_attention(length, known, block):
    """Interpret mode puts NaN where a block reaches beyond the end: nothing of it may count."""
    assert_equal_attention(*random_inputs(length, length, known), tolerance=1e-5, block=block)


@pytest.mark.slow
def test_bfloat16_is_plain_attention_up_to_its_rounding():
    """In blocks of several tiles."""
    assert_equal_attention(*random_inputs(3, 330, 129, dtype="bfloat16"), tolerance=2e-2, block=256)


def test_no_table_adds_nothing():
    (q, k, v, table), _ = random_inputs(4, 50, 3)
    without = jax.jit(lambda *x: flash(*x, None))(q, k, v)
    expected = causal_attention(q, k, v, jnp.zeros_like(table))
    np.testing.assert_allclose(without, expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_from_the_future():
    inputs, _ = random_inputs(5, 300, 129, batch=1, heads=1)

    @jax.jit
    def gradients(i):
        return jax.grad(lambda x: (flash(*x)[:, i] ** 2).sum())(inputs)

    for i in (0, 127, 128, 200, 299):
        for grad in gradients(i)[:3]:
            sizes = np.abs(grad).sum((0, 2, 3))
            assert (sizes[i + 1 :] == 0).all()
        assert (np.abs(gradients(i)[2]).sum((0, 2, 3))[: i + 1] > 0).all()


def test_devices_that_share_batch_and_heads_compute_the_same():
    inputs, d_out = random_inputs(7, 140, 129, batch=4, heads=2)
    with use_mesh(make_mesh(MeshConfig("fsdp_tp", model=2)), RULES["fsdp_tp"]):
        assert_equal_attention(inputs, d_out, tolerance=1e-5)


def test_each_device_sees_its_own_part():
    assert on_each_device(jnp.sin, (("batch",),), ("batch",)) is jnp.sin
    with use_mesh(make_mesh(MeshConfig("fsdp_tp", model=2)), RULES["fsdp_tp"]):
        first = on_each_device(lambda x, y: x - x[:1] + y, (("batch",), (None,)), ("batch",))
        x = jnp.arange(8.0)
        np.testing.assert_array_equal(jax.jit(first)(x, jnp.ones(1)), 1 + np.arange(8) % 2)
        grad = jax.jit(jax.grad(lambda y: first(x, y).sum()))(jnp.ones(1))
    np.testing.assert_allclose(grad, [8.0])


@pytest.mark.parametrize("block", [0, 100])
def test_a_block_is_a_multiple_of_the_lanes(block):
    inputs, _ = random_inputs(8, 4, 3)
    with pytest.raises(InputError, match=f"block = {block}: expected a positive multiple of 128"):
        flash(*inputs, block=block)


def test_cost_counts_the_work_and_grows_with_it():
    kernel = FlashKernel("forward", batch=2, heads=3, length=768, head_width=64, block=384)
    cost = kernel.cost()
    scores = 2 * 3 * 3 * 384**2  # three of the four blocks hold some past
    assert cost.exponentials == scores
    assert cost.operations == 2 * 2 * 64 * scores
    assert cost.hbm_bytes == 2 * 3 * 768 * (4 * 64 * 2 + 4)
    assert kernel.cycles("v1", cores=2, bytes_per_cycle=1580.0) is None

    def cycles(kind, length, heads=16):
        name = f"checkpoint/transpose(jvp(flash_attention_{kind}_384))"
        kernel = FlashKernel.from_program(name, "bf16", (16, heads, 64, length))
        return kernel.cycles("v5p", cores=2, bytes_per_cycle=1580.0)

    # Never less than the matrix units need: scores, and only they, use half of their depth.
    for kind, halves in (("forward", 3), ("backward", 7)):
        scores = 16 * 16 * 21 * 384**2
        least = scores * 64 * halves / (2 * 4 * 128 * 128)
        assert least < cycles(kind, 2304) < 2.5 * least
    assert cycles("forward", 2304) < cycles("backward", 2304)
    assert cycles("forward", 2304) < cycles("forward", 2304, heads=18)
    assert FlashKernel.from_program(kernel.name, "bf16", (2, 3, 64, 768)) == kernel
    assert FlashKernel.from_program("other_kernel", "bf16", (1, 1, 64, 384)) is None
    assert FlashKernel.from_program(kernel.name, "f32", (1, 1, 64, 384)) is None


def test_a_block_that_was_counted_is_not_taken_in_proportion():
    def cycles(kind, block):
        kernel = FlashKernel(kind, batch=16, heads=16, length=2256, head_width=64, block=block)
        return kernel.cycles("v6e", cores=1, bytes_per_cycle=937.0)

    for kind, programs in (("forward", 10_748), ("backward", 16_259)):
        # Three rows: three blocks on the diagonal, two beside it, one beyond.
        assert cycles(kind, 768) == pytest.approx(256 * programs, rel=0.02)
        assert cycles(kind, 768) < 0.8 * cycles(kind, 384) < cycles(kind, 640)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")
def test_the_tpu_compiler_takes_the_kernels(monkeypatch):
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5p:2x2x1").devices
    here = jax.sharding.SingleDeviceSharding(devices[0])

    def abstract(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=here)

    x = abstract((16, 2250, 16, 64), jnp.bfloat16)

    def gradients(q, k, v, table, d_out):
        return jax.vjp(flash_causal_attention, q, k, v, table)[1](d_out)

    compiled = jax.jit(gradients).lower(x, x, x, abstract((16, 129), jnp.float32), x).compile()
    assert compiled.as_text().count("tpu_custom_call") == 2
