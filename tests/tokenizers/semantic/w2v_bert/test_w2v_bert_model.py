import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.w2v_bert.config import ConformerConfig, W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.conformer import (
    ConformerBlock,
    SelfAttention,
    rotate_positions,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.tokenizers.semantic.w2v_bert.subsample import ConvolutionalSubsampling
from audiolm_jax.types import AudioBatch

LENGTHS = np.array([7000, 4321, 1, 640, 641, 0], np.int32)


@pytest.fixture(scope="module")
def features(graphdef, fast_jit):
    def run(params, audio):
        return nnx.merge(graphdef, params).features(audio, "masked_1")

    return fast_jit(run)


def audio_with(padding, rng_seed=0):
    rng = np.random.default_rng(rng_seed)
    samples = np.full((len(LENGTHS), 8000), padding, np.float32)
    for row, length in zip(samples, LENGTHS, strict=True):
        row[:length] = rng.normal(size=length)
    return AudioBatch(samples, LENGTHS)


def test_batch_mates_change_nothing(features, initial_state):
    mine, other = audio_with(0), audio_with(0, rng_seed=1)
    mixed = np.where(np.arange(len(LENGTHS))[:, None] == 1, mine.samples, other.samples)
    first, _ = features(initial_state.params, mine)
    second, _ = features(initial_state.params, AudioBatch(mixed, LENGTHS))
    np.testing.assert_array_equal(np.asarray(first)[1], np.asarray(second)[1])
    assert not np.array_equal(np.asarray(first)[0], np.asarray(second)[0])


def test_loudness_changes_nothing(features, initial_state):
    audio = audio_with(0)
    loud, _ = features(initial_state.params, AudioBatch(audio.samples * 8, LENGTHS))
    plain, _ = features(initial_state.params, audio)
    np.testing.assert_allclose(loud, plain, atol=1e-3)


def test_layers_beyond_the_named_one_are_not_run(features, initial_state):
    def poison(path, leaf):
        names = [getattr(key, "key", None) for key in path]
        if "head" in names or "context" in names or "quantizer" in names:
            return np.full_like(leaf, np.nan)
        leaf = np.array(leaf)
        if "blocks" in names:
            leaf[2:] = np.nan
        return leaf

    poisoned = jax.tree_util.tree_map_with_path(poison, initial_state.params)
    expected, _ = features(initial_state.params, audio_with(0))
    found, _ = features(poisoned, audio_with(0))
    np.testing.assert_array_equal(expected, found)


def test_the_context_comes_from_the_last_contrastive_block(graphdef, initial_state, fast_jit):
    audio = audio_with(0)

    @fast_jit
    def run():
        model = nnx.merge(graphdef, initial_state.params)
        nothing = jnp.zeros((len(LENGTHS), 13), bool)
        outputs = model(audio, nothing, jnp.zeros((len(LENGTHS), 13, 8)), 1.0)
        features, _ = model.features(audio, "contrastive_1")
        return outputs.context, outputs.valid, model.context(features)

    context, valid, expected = (np.asarray(array) for array in run())
    np.testing.assert_allclose(context[valid], expected[valid], atol=1e-5)


def test_dropout_follows_its_key(graphdef, initial_state, fast_jit):
    audio = audio_with(0)

    @fast_jit
    def logits(key):
        nothing = jnp.zeros((len(LENGTHS), 13), bool)
        model = nnx.merge(graphdef, initial_state.params)
        return model(audio, nothing, jnp.zeros((len(LENGTHS), 13, 8)), 1.0, dropout_key=key).logits

    first, again, other = (logits(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-2)


def test_dropout_reaches_every_branch_of_a_block(tiny_config, fast_jit):
    nearly_all = dataclasses.replace(tiny_config.conformer, dropout=1 - 1e-6)
    x = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    valid = np.ones((2, 6), bool)

    @fast_jit
    def run(x, valid, key):
        block = ConformerBlock(nearly_all, rngs=nnx.Rngs(params=0))
        return block(x, valid, key), block(x, valid, None), block.norm(x)

    found, whole, bare = run(x, valid, jax.random.key(0))
    np.testing.assert_allclose(found, bare, atol=1e-6)
    assert not np.allclose(whole, bare, atol=1e-2)


def test_every_length_has_its_tokens(graphdef, initial_state):
    for samples in (1, 640, 641, 33_333):
        shape = jax.eval_shape(
            lambda audio: nnx.merge(graphdef, initial_state.params).features(audio, "masked_2")[0],
            AudioBatch(np.zeros((2, samples), np.float32), np.zeros(2, np.int32)),
        ).shape
        assert shape == (2, math.ceil(samples / 640), 8)


def test_a_token_sees_the_frames_around_its_own_four():
    mel = np.random.default_rng(0).normal(size=(1, 32, 10)).astype(np.float32)

    def token(mel):
        module = ConvolutionalSubsampling(10, 8, 4, rngs=nnx.Rngs(params=0))
        return jnp.abs(module(mel, jnp.array([32]))[0][0, 4]).sum()

    touched = np.flatnonzero(np.abs(jax.jit(jax.grad(token))(mel)[0]).sum(axis=1))
    np.testing.assert_array_equal(touched, np.arange(16 - 3, 19 + 3 + 1))


def test_quantiser_does_not_see_the_mask(graphdef, initial_state, fast_jit):
    audio = audio_with(0)

    @fast_jit
    def run(mask):
        vectors = jnp.zeros((*mask.shape, 8))
        return nnx.merge(graphdef, initial_state.params)(audio, mask, vectors, 1.0)

    none = run(jnp.zeros((len(LENGTHS), 13), bool))
    all_hidden = run(jnp.ones((len(LENGTHS), 13), bool))
    for a, b in zip(none.quantized, all_hidden.quantized, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(none.logits, all_hidden.logits)
    np.testing.assert_array_equal(none.quantized.ids, none.quantized.sampled_ids)
    vectors = np.asarray(initial_state.params["quantizer"]["codebook"][...])
    np.testing.assert_allclose(none.quantized.vectors, vectors[none.quantized.ids], atol=1e-6)


def test_noise_chooses_other_codes_and_a_share_of_the_gradient_reaches_the_subsampling(
    graphdef, initial_state, fast_jit
):
    audio, nothing = audio_with(0), jnp.zeros((len(LENGTHS), 13), bool)
    by_code = jnp.arange(6.0)[None, None]

    def run(share):
        def likeness(params):
            model, vectors = nnx.merge(graphdef, params), jnp.zeros((*nothing.shape, 8))
            key = jax.random.key(1)
            quantized = model(audio, nothing, vectors, 1.0, share, gumbel_key=key).quantized
            return (quantized.probabilities * by_code).sum(), quantized

        grads, quantized = jax.grad(likeness, has_aux=True)(initial_state.params)
        return grads["subsampling"]["kernel1"][...], quantized

    (half, quantized), (whole, _) = fast_jit(lambda: (run(0.5), run(1.0)))()
    assert (quantized.ids != quantized.sampled_ids).mean() > 0.05
    assert np.abs(whole).max() > 0
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-3, atol=1e-6 * np.abs(whole).max())


def test_rotation_makes_scores_depend_on_distance_only():
    rng = np.random.default_rng(0)
    one = np.broadcast_to(rng.normal(size=(2, 1, 1, 1, 6)), (2, 1, 9, 1, 6)).astype(np.float32)
    query, key = (np.asarray(rotate_positions(jnp.asarray(x)))[0, :, 0] for x in one)
    scores = query @ key.T
    for distance in range(-8, 9):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, np.full_like(diagonal, diagonal[0]), atol=1e-4)
    assert abs(scores[0, 0] - scores[0, 1]) > 1e-3


def test_narrow_arithmetic_keeps_float32_scores(fast_jit):
    """Scores of up to 59, which bfloat16 rounds by up to 0.125, against the same in float64."""
    sizes = ConformerConfig(width=64, heads=1, ff_width=8, compute_dtype="bfloat16")
    module = fast_jit(lambda: SelfAttention(sizes, rngs=nnx.Rngs(params=0)))()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 64)), jnp.float32)
    module.qkv.kernel[...] *= 6
    module.out.kernel[...] = jnp.eye(64).reshape(1, 64, 64)

    @fast_jit
    def run(x):
        qkv = module.qkv(module.norm(x)).astype(jnp.float32)
        turned = (rotate_positions(qkv[:, :, i]).astype(jnp.bfloat16) for i in (0, 1))
        return module(x, jnp.ones((2, 12), bool)), *turned, qkv[:, :, 2]

    found, query, key, value = (np.asarray(array, np.float64) for array in run(x))
    scores = np.einsum("buhk,bvhk->buv", query, key) / 8
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("buv,bvhk->buk", weights, value)
    assert np.abs(scores).max() > 50
    assert np.abs(found - expected).max() < 0.006 * np.abs(expected).max()


def test_configs_refuse_nonsense_and_survive_json(tiny_config):
    for field, value in (("width", 30), ("conv_kernel", 4), ("dropout", 1.0), ("heads", 0)):
        with pytest.raises(InputError, match=f"^--model.conformer.{field.replace('_', '-')} = "):
            ConformerConfig(**{field: value})
    for field, value in (("mel_window_samples", 100), ("codebook_size", 1), ("mel_floor", 0.0)):
        with pytest.raises(InputError, match=f"^--model.{field.replace('_', '-')} = "):
            dataclasses.replace(tiny_config, **{field: value})
    assert config_from_dict(W2vBertConfig, config_to_dict(tiny_config), "here") == tiny_config


def test_the_paper_sizes_give_six_hundred_million_parameters():
    abstract = nnx.eval_shape(lambda: W2vBert(W2vBertConfig(), rngs=nnx.Rngs(params=0)))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(abstract)))
    assert 580e6 < count < 640e6
