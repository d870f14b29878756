"""Masks, distractors and the three losses of w2v-BERT (arXiv:2108.06209).

Every loss is a sum divided by a count, both over the whole batch, however devices share it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from audiolm_jax.tokenizers.semantic.w2v_bert import draws
from audiolm_jax.tokenizers.semantic.w2v_bert.model import Outputs


def span_mask(
    key: Key[Array, ""], valid: Bool[Array, "b u"], probability: float, length: int
) -> Bool[Array, "b u"]:
    """Hides spans: every valid token starts one with `probability`; spans may overlap.

    An item where chance starts none gets one at a random valid token. A span ends with its item.
    """
    chance = jnp.where(valid, draws.uniform(key, valid.shape), 2.0)
    starts = chance < probability
    luckiest = jax.nn.one_hot(jnp.argmin(chance, axis=1), valid.shape[1], dtype=bool)
    starts = jnp.where(starts.any(axis=1, keepdims=True), starts, luckiest)
    padded = jnp.pad(starts, ((0, 0), (length - 1, 0)))
    covered = [padded[:, shift : shift + valid.shape[1]] for shift in range(length)]
    return jnp.stack(covered).any(axis=0) & valid


def sample_distractors(
    key: Key[Array, ""], mask: Bool[Array, "b u"], count: int
) -> Int[Array, "b u n"]:
    """Positions of `count` distractors for each token, int32, drawn with replacement.

    They are other masked tokens of the item; rows of tokens without such mean nothing.
    """
    others_Bx1x1 = (mask.sum(axis=1) - 1)[:, None, None]
    # Draw among the other masked tokens by rank, skipping the own rank, then rank to position.
    draw_BxUxN = draws.uniform(key, (*mask.shape, count)) * others_Bx1x1
    draw_BxUxN = jnp.minimum(draw_BxUxN.astype(jnp.int32), others_Bx1x1 - 1)
    rank_BxUx1 = (jnp.cumsum(mask, axis=1) - 1)[:, :, None]
    draw_BxUxN = jnp.maximum(draw_BxUxN + (draw_BxUxN >= rank_BxUx1), 0)
    positions_BxU = jnp.argsort(~mask, axis=1, stable=True).astype(jnp.int32)
    flat = jnp.take_along_axis(positions_BxU, draw_BxUxN.reshape(mask.shape[0], -1), axis=1)
    return flat.reshape(draw_BxUxN.shape)


class Sum(NamedTuple):
    """A total over positions, and how many positions it covers."""

    total: Array
    positions: Array

    def mean(self) -> Array:
        """Total per position; 0 over no positions."""
        return self.total / jnp.maximum(self.positions, 1)


def contrastive_loss(
    outputs: Outputs, mask: Bool[Array, "b u"], distractors: Int[Array, "b u n"], temperature: float
) -> tuple[Sum, Sum]:
    """Cross-entropy of telling a hidden token's code among distractors, by cosine; accuracy.

    Distractors with the token's own code are left out, and items with one hidden token.
    """
    assert outputs.quantized is not None  # the objective w2v_bert
    assert outputs.context is not None
    context_BxUxD = _normalize(outputs.context)
    targets_BxUxD = _normalize(outputs.quantized.vectors)
    similarity_BxUxV = jnp.einsum("bud,bvd->buv", context_BxUxD, targets_BxUxD) / temperature
    positive_BxU = jnp.einsum("bud,bud->bu", context_BxUxD, targets_BxUxD) / temperature
    negative_BxUxN = jnp.take_along_axis(similarity_BxUxV, distractors, axis=2)
    codes_BxU = outputs.quantized.sampled_ids
    drawn = jnp.take_along_axis(codes_BxU, distractors.reshape(codes_BxU.shape[0], -1), axis=1)
    same_BxUxN = drawn.reshape(distractors.shape) == codes_BxU[:, :, None]
    negative_BxUxN = jnp.where(same_BxUxN, -1e30, negative_BxUxN)
    logits_BxUxM = jnp.concatenate([positive_BxU[:, :, None], negative_BxUxN], axis=-1)
    weight = mask & (mask.sum(axis=1, keepdims=True) >= 2)
    loss = jax.nn.logsumexp(logits_BxUxM, axis=-1) - logits_BxUxM[:, :, 0]
    right = jnp.argmax(logits_BxUxM, axis=-1) == 0
    return _sum(loss, weight), _sum(right, weight)


def prediction_loss(outputs: Outputs, where: Bool[Array, "b u"]) -> tuple[Sum, Sum]:
    """Cross-entropy of the quantizer's ids at some tokens, and its accuracy."""
    log_probabilities = jax.nn.log_softmax(outputs.logits, axis=-1)
    loss = -jnp.take_along_axis(log_probabilities, outputs.ids[:, :, None], axis=-1)[:, :, 0]
    right = jnp.argmax(outputs.logits, axis=-1) == outputs.ids
    return _sum(loss, where), _sum(right, where)


def diversity_loss(outputs: Outputs) -> Float[Array, ""]:
    """1 - perplexity / codes, of the mean code probabilities over valid tokens: 0 if all serve."""
    assert outputs.quantized is not None  # the objective w2v_bert
    codes = outputs.quantized.probabilities.shape[-1]
    return 1 - _perplexity(outputs.quantized.probabilities, outputs.valid) / codes


def code_perplexity(outputs: Outputs) -> Float[Array, ""]:
    """Perplexity of the ids in use over valid tokens, 1 (collapsed) to codebook_size."""
    return _perplexity(jax.nn.one_hot(outputs.ids, outputs.logits.shape[-1]), outputs.valid)


def feature_penalty(outputs: Outputs) -> Sum:
    """Mean square of the subsampled features, per token."""
    return _sum(jnp.mean(jnp.square(outputs.subsampled), axis=-1), outputs.valid)


def _perplexity(
    probabilities: Float[Array, "b u c"], valid: Bool[Array, "b u"]
) -> Float[Array, ""]:
    mean = jnp.einsum("buc,bu->c", probabilities, valid) / jnp.maximum(valid.sum(), 1)
    return jnp.exp(-jnp.sum(mean * jnp.log(mean + 1e-9)))


def _normalize(x: Float[Array, "b u d"]) -> Float[Array, "b u d"]:
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


def _sum(values: Array, weight: Bool[Array, "b u"]) -> Sum:
    return Sum(jnp.sum(jnp.where(weight, values, 0.0)), weight.sum())
