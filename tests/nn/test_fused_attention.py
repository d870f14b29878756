"""Attention through `jax.nn.dot_product_attention`: its plain implementation here, and the call of
cuDNN as it is lowered for CUDA. cuDNN itself was not run."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.nn.attention import causal_attention
from audiolm_jax.nn.fused_attention import fused_causal_attention

plain = functools.partial(fused_causal_attention, implementation="xla")


def inputs(dtype, length=12, has_bias=True):
    """Queries, keys, values, a table shorter than the sequence, and an output gradient."""
    keys = jax.random.split(jax.random.key(0), 5)
    *qkv, d_out = (jax.random.normal(key, (2, length, 3, 8)).astype(dtype) for key in keys[:4])
    table = (2 * jax.random.normal(keys[4], (3, 5)),) if has_bias else ()
    return (*qkv, *table), d_out


def value_and_gradients(attend, arguments, d_out):
    @jax.jit
    def run(arguments, d_out):
        whole = attend if len(arguments) == 4 else lambda *qkv: attend(*qkv, None)
        value, pull = jax.vjp(whole, *arguments)
        return value, *pull(d_out)

    return run(arguments, d_out)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_it_is_causal_attention(dtype, tolerance, has_bias):
    arguments, d_out = inputs(dtype, has_bias=has_bias)
    exact = [x.astype(jnp.float32) for x in arguments]
    expected = value_and_gradients(causal_attention, exact, d_out.astype(jnp.float32))
    found = value_and_gradients(plain, arguments, d_out)
    assert len(found) == len(expected) == 4 + has_bias
    for a, b in zip(found, expected, strict=True):
        largest = np.abs(b).max()
        assert largest > 0.1
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=tolerance * largest)


@pytest.mark.parametrize("has_bias", [True, False])
def test_for_cuda_it_is_one_call_of_cudnn_each_way(monkeypatch, has_bias):
    """Lowered without a card: JAX asks an installed cuDNN for its version, and no more."""
    module = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{module}.check_cudnn_version", lambda: 91000)
    arguments, d_out = inputs("bfloat16", length=96, has_bias=has_bias)
    attend = fused_causal_attention
    whole = attend if has_bias else lambda *qkv: attend(*qkv, None)
    step = jax.jit(lambda arguments, d_out: jax.vjp(whole, *arguments)[1](d_out))
    text = step.trace(arguments, d_out).lower(lowering_platforms=("cuda",)).as_text()
    calls = re.findall(r"@(__cudnn\$\w+)", text)
    name = "__cudnn$fmhaScaleBiasSoftmax" if has_bias else "__cudnn$fmhaSoftmax"
    assert calls == [name, f"{name}Backward"]
    assert text.count("mask_type") >= 2
    assert "CAUSAL" in text
    # Scores of the batch are nowhere; the bias is, once for all of it.
    assert "2x3x96x96" not in text
    assert ("1x3x96x96xbf16" in text) == has_bias
