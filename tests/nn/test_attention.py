import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.nn import attention
from audiolm_jax.nn.attention import AttentionProjections, causal_attention
from audiolm_jax.nn.cached_attention import empty_cache, single_query_attention
from audiolm_jax.nn.position import rotate


def random_qkv(seed, batch=2, length=6, heads=3, head_width=4):
    keys = jax.random.split(jax.random.key(seed), 4)
    q, k, v = (jax.random.normal(key, (batch, length, heads, head_width)) for key in keys[:3])
    return q, k, v, jax.random.normal(keys[3], (heads, 3))


def plain_attention(q, k, v, by_distance):
    """The definition, one query at a time, in float64."""
    q, k, v, by_distance = (np.asarray(a, np.float64) for a in (q, k, v, by_distance))
    out = np.zeros_like(q)
    for b, i, h in np.ndindex(q.shape[:3]):
        past = np.arange(i + 1)
        scores = k[b, past, h] @ q[b, i, h] + by_distance[h, np.minimum(i - past, 2)]
        weights = np.exp(scores - scores.max())
        out[b, i, h] = weights @ v[b, past, h] / weights.sum()
    return out


def test_causal_attention_is_its_definition():
    inputs = random_qkv(0)
    np.testing.assert_allclose(causal_attention(*inputs), plain_attention(*inputs), atol=1e-5)


def test_without_bias_attention_is_that_of_a_zero_bias():
    *qkv, bias = random_qkv(3)
    np.testing.assert_array_equal(
        causal_attention(*qkv, None), causal_attention(*qkv, jnp.zeros_like(bias))
    )


def whole_attention(q, k, v, by_distance):
    """The definition with all scores at once, whose gradients JAX derives."""
    places = jnp.arange(q.shape[1])
    distances = places[:, None] - places[None]
    bias = by_distance[:, jnp.clip(distances, 0, by_distance.shape[1] - 1)]
    scores = jnp.einsum("bihk,bjhk->bhij", q, k) + jnp.where(distances >= 0, bias, -jnp.inf)[None]
    return jnp.einsum("bhij,bjhk->bihk", jax.nn.softmax(scores), v)


@pytest.mark.parametrize("block", [4, 256])
@pytest.mark.parametrize("has_bias", [True, False])
def test_blocks_of_queries_have_the_gradients_of_the_definition(monkeypatch, block, has_bias):
    *qkv, bias = random_qkv(4, length=11)
    of_result = random_qkv(5, length=11)[0]
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(attend, inputs):
        value, pull = jax.vjp(attend, *inputs)
        return value, pull(of_result)

    if has_bias:
        inputs, blocks, whole = (*qkv, bias), causal_attention, whole_attention
    else:
        inputs = qkv
        blocks = lambda *x: causal_attention(*x, None)  # noqa: E731
        whole = lambda *x: whole_attention(*x, jnp.zeros((3, 1)))  # noqa: E731
    found, gradients = value_and_gradients(blocks, tuple(inputs))
    expected, of_definition = value_and_gradients(whole, tuple(inputs))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, of_definition, strict=True):
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_no_gradient_from_the_future(which):
    inputs = random_qkv(1)

    def one_query(x, i):
        changed = [*inputs]
        changed[which] = x
        return jnp.sum(causal_attention(*changed)[:, i] ** 2)

    for i in range(6):
        grad = np.abs(jax.grad(one_query)(inputs[which], i)).sum((0, 2, 3))
        assert (grad[i + 1 :] == 0).all()
        # One key alone always has weight 1.
        assert grad[i] > 0 or (which < 2 and i == 0)
        if which and i:
            assert (grad[:i] > 0).all()


def test_attention_to_a_cache_is_the_last_row_of_whole_attention():
    q, k, v, by_distance = random_qkv(2)
    cache = empty_cache(2, 3, 9, 4, "float32")
    cache = cache.write(k, v, jnp.int32(2))
    # Unseen slots hold anything finite.
    cache = cache.write(jnp.full((2, 2, 3, 4), 1e6), jnp.full((2, 2, 3, 4), -1e6), jnp.int32(0))
    slots = jnp.arange(9)
    bias = by_distance[:, jnp.clip(7 - slots, 0, by_distance.shape[1] - 1)]
    bias = jnp.where(((slots >= 2) & (slots <= 7))[None], bias, -jnp.inf)
    out = single_query_attention(q[:, -1], cache, jnp.broadcast_to(bias[None], (2, *bias.shape)))
    whole = causal_attention(q, k, v, by_distance)
    np.testing.assert_allclose(out, whole[:, -1], atol=1e-6)


def test_narrow_queries_and_keys_make_float32_scores():
    """Scores of up to 94, which bfloat16 rounds by up to 0.25, against the same in float64."""
    rng = np.random.default_rng(0)
    draw = lambda size, *shape: jnp.asarray(size * rng.normal(size=shape), jnp.bfloat16)  # noqa: E731
    q, k, v = draw(2.0, 2, 1, 4, 64), draw(2.0, 2, 9, 4, 64), draw(1.0, 2, 9, 4, 64)
    cache = empty_cache(2, 4, 9, 64, jnp.bfloat16).write(k, v, jnp.int32(0))
    # Not compiled, which may leave a rounding out.
    found = single_query_attention(q[:, 0], cache, jnp.zeros((2, 1, 9)))[:, None]
    found = found.astype(jnp.float32)
    exact = [np.asarray(x, np.float64) for x in (q, k, v)]
    scores = np.einsum("blhk,bshk->bhs", exact[0], exact[1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhs,bshk->bhk", weights, exact[2])[:, None]
    assert np.abs(found - expected).max() < 0.03


def test_narrow_gradients_of_many_blocks_are_summed_in_float32(monkeypatch):
    """All queries look at the first key, whose value gets 256 from them and then 0.5 five times."""
    monkeypatch.setattr(attention, "QUERY_BLOCK", 4)
    q = jnp.full((1, 24, 1, 2), 8.0, jnp.bfloat16)
    k = jnp.zeros_like(q).at[:, 0].set(2.0)
    of_result = jnp.full_like(q, 0.125).at[:, :4].set(64.0)

    @jax.jit
    def gradient(v):
        return jax.vjp(lambda v: causal_attention(q, k, v, None), v)[1](of_result)[0]

    assert gradient(jnp.zeros_like(q))[0, 0, 0, 0] == 258


def test_projections_scale_queries_and_merge_back():
    module = AttentionProjections(5, 2, 16, "float32", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 3, 5))
    q, _, v = module.project(x)
    for found, kernel in ((4 * q, module.query.kernel), (v, module.value.kernel)):
        expected = np.einsum("bld,dhk->blhk", x, np.asarray(kernel[...]))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    merged = np.einsum("blhk,hkd->bld", v, np.asarray(module.out.kernel[...]))
    np.testing.assert_allclose(module.merge(v), merged, atol=1e-5)


def test_normalized_queries_and_keys_ignore_the_scale_of_their_weights():
    module = AttentionProjections(5, 2, 16, "float32", normalize=True, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 3, 5))
    query, key, value = module.project(x)
    np.testing.assert_allclose(jnp.mean(key**2, -1), 1, rtol=1e-4)
    np.testing.assert_allclose(16 * jnp.mean(query**2, -1), 1, rtol=1e-4)
    for projection in (module.query, module.key, module.value):
        projection.kernel[...] *= 7.0
    scaled = module.project(x)
    np.testing.assert_allclose(scaled[0], query, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaled[1], key, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaled[2], 7 * value, rtol=1e-5, atol=1e-5)


def test_rotary_projections_turn_queries_and_keys_but_not_values():
    plain = AttentionProjections(5, 2, 4, "float32", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 3, 5))
    positions = jnp.array([[5, 0, 2]])
    turned = plain.project(x, positions)
    for a, b in zip(plain.project(x)[:2], turned[:2], strict=True):
        np.testing.assert_allclose(rotate(a, positions), b, atol=1e-6)
    np.testing.assert_array_equal(plain.project(x)[2], turned[2])
