import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.tokenizers.semantic.w2v_bert import losses
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertTrainConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import Outputs, Quantized
from audiolm_jax.tokenizers.semantic.w2v_bert.train import Randomness, measure

B, U, CODES = 3, 12, 5

sample_distractors = jax.jit(losses.sample_distractors, static_argnums=2)
contrastive_loss = jax.jit(losses.contrastive_loss, static_argnums=3)
prediction_loss = jax.jit(losses.prediction_loss)
diversity_loss = jax.jit(losses.diversity_loss)
code_perplexity = jax.jit(losses.code_perplexity)
span_mask = jax.jit(losses.span_mask, static_argnums=(2, 3))


def outputs_from(seed, **changes):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, CODES, (B, U)).astype(np.int32)
    fields = {
        "valid": np.ones((B, U), bool),
        "subsampled": rng.normal(size=(B, U, 4)),
        "ids": ids,
        "vectors": rng.normal(size=(CODES, 6))[ids],
        "probabilities": rng.dirichlet(np.ones(CODES), (B, U)),
        "context": rng.normal(size=(B, U, 6)),
        "logits": rng.normal(size=(B, U, CODES)),
    }
    x = {name: jnp.asarray(value) for name, value in (fields | changes).items()}
    quantized = Quantized(x["ids"], x["ids"], x["vectors"], x["probabilities"])
    return Outputs(x["valid"], x["subsampled"], x["ids"], x["logits"], quantized, x["context"])


def random_mask(seed):
    mask = np.random.default_rng(seed).random((B, U)) < 0.5
    mask[0, :3] = True
    return jnp.asarray(mask)


def test_spans_lie_within_their_item_and_none_is_idle():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 60, 200)
    lengths[:3] = [0, 1, 2]
    valid = np.arange(60)[None] < lengths[:, None]
    mask = np.asarray(span_mask(jax.random.key(0), jnp.asarray(valid), 0.065, 10))
    assert not mask[~valid].any()
    np.testing.assert_array_equal(mask.any(axis=1), lengths > 0)
    for row, length in zip(mask, lengths, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        for start, stop in edges.reshape(-1, 2):
            assert stop - start >= 10 or stop == length
    assert 0.35 < mask[valid].mean() < 0.55


@pytest.mark.parametrize("seed", [0, 1])
def test_distractors_are_other_hidden_tokens_of_the_item(seed):
    mask = np.random.default_rng(seed).random((20, 15)) < 0.3
    mask[0], mask[1], mask[2] = False, True, False
    mask[2, [3, 9]] = True
    drawn = np.asarray(sample_distractors(jax.random.key(seed), jnp.asarray(mask), 200))
    assert drawn.min() >= 0
    assert drawn.max() < 15
    for item, row in enumerate(mask):
        hidden = np.flatnonzero(row)
        for position in hidden if len(hidden) > 1 else []:
            # 200 draws of at most 14 others miss one with probability below 1e-5.
            assert set(drawn[item, position]) == set(hidden) - {position}


def test_prediction_sees_the_tokens_it_is_asked_of():
    mask = random_mask(0)
    outputs = outputs_from(0)
    loss, accuracy = prediction_loss(outputs, mask)
    np_mask, ids = np.asarray(mask), np.asarray(outputs.quantized.ids)
    logits = np.asarray(outputs.logits)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    expected = -np.take_along_axis(log_p, ids[..., None], -1)[..., 0][np_mask]
    np.testing.assert_allclose(loss.mean(), expected.mean(), rtol=1e-5)
    assert int(loss.positions) == np_mask.sum()
    assert int(accuracy.total) == (logits.argmax(axis=-1) == ids)[np_mask].sum()

    def total(logits):
        return prediction_loss(outputs._replace(logits=logits), mask)[0].mean()

    gradient = np.abs(jax.grad(total)(outputs.logits)).sum(axis=-1)
    np.testing.assert_array_equal(gradient > 0, np_mask)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_visible_tokens_count_by_their_weight(weight):
    valid = jnp.arange(U)[None] < jnp.array([U, U - 4, 0])[:, None]
    mask, outputs = random_mask(0) & valid, outputs_from(0, valid=valid)
    drawn = Randomness(mask, None, sample_distractors(jax.random.key(0), mask, 4))
    visible = outputs.valid & ~mask

    def total(logits):
        config = W2vBertTrainConfig(visible_weight=weight)
        return measure(outputs._replace(logits=logits), drawn, config)

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (loss, sums), gradient = run(outputs.logits)
    expected = sum(
        share * prediction_loss(outputs, where)[0].mean()
        for share, where in ((1.0, mask), (weight, visible))
    )
    expected += sums["contrastive_loss"].mean() + 0.1 * sums["diversity_loss"].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert int(sums["visible_loss"].positions) == int(visible.sum()) > 0
    gradient = np.abs(gradient).sum(axis=-1)
    np.testing.assert_array_equal(gradient > 0, mask | visible if weight else mask)


def test_contrastive_loss_is_cross_entropy_over_positive_and_distractors():
    mask = random_mask(1)
    outputs = outputs_from(1)
    drawn = sample_distractors(jax.random.key(0), mask, 4)
    loss, accuracy = contrastive_loss(outputs, mask, drawn, 0.1)
    unit = [np.asarray(x) for x in (outputs.context, outputs.quantized.vectors)]
    context, target = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in unit)
    ids, expected, right = np.asarray(outputs.quantized.ids), [], 0
    for b, u in np.argwhere(np.asarray(mask)):
        wrong = [j for j in np.asarray(drawn)[b, u] if ids[b, j] != ids[b, u]]
        scores = np.array([context[b, u] @ target[b, j] for j in (u, *wrong)]) / 0.1
        expected.append(np.log(np.exp(scores).sum()) - scores[0])
        right += scores.argmax() == 0
    np.testing.assert_allclose(loss.mean(), np.mean(expected), rtol=1e-4)
    assert int(accuracy.total) == right


def test_a_lone_hidden_token_has_no_contrastive_loss():
    mask = jnp.zeros((B, U), bool).at[1, 4].set(True)
    outputs = outputs_from(2)
    drawn = sample_distractors(jax.random.key(0), mask, 4)
    loss, _ = contrastive_loss(outputs, mask, drawn, 0.1)
    assert (float(loss.total), int(loss.positions), float(loss.mean())) == (0, 0, 0)


def test_diversity_and_perplexity_ignore_padding():
    valid = np.arange(U)[None] < np.array([U, 5, 1])[:, None]
    collapsed = np.zeros((B, U, CODES))
    collapsed[..., 2] = 1
    collapsed[~valid] = 1 / CODES  # padding would look diverse
    outputs = outputs_from(3, valid=valid, probabilities=collapsed, ids=np.where(valid, 2, 1))
    np.testing.assert_allclose(diversity_loss(outputs), 1 - 1 / CODES, atol=1e-5)
    np.testing.assert_allclose(code_perplexity(outputs), 1, atol=1e-5)
    even = outputs_from(4, probabilities=np.full((B, U, CODES), 1 / CODES))
    np.testing.assert_allclose(diversity_loss(even), 0, atol=1e-5)
