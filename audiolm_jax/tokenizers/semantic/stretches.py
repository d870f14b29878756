"""Tokens that do not depend on where the grid of tokens begins.

An encoder of 25 Hz hears a recording in cells of 40 ms, and a phone is hardly longer. Where it
falls on the grid then decides which units it becomes: the same sound, begun 10 ms later, is another
sequence, and a language model learns this noise. Here a recording is encoded `phases` times, each
time begun a share of a token later, and its frames, now `phases` times as dense, are divided into
stretches of one cluster each, none shorter than a token, such that the sum of the squared distances
to the centroids is least (dynamic programming, as Kamper & van Niekerk 2021, arXiv:2012.07551,
segment). Since no stretch is shorter than a token, none falls between two tokens: taken at the
middle of each token, the clusters change exactly as they do at the higher rate.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.shifts import begun_later
from audiolm_jax.types import AudioBatch


def check_phases(phases: int, hop_samples: int, where: str) -> None:
    """InputError unless the encodings begin whole samples apart, evenly around the middle."""
    if phases < 1 or (phases > 1 and hop_samples % (2 * phases)):
        raise InputError(
            f"{where}: phases = {phases}: expected 1, or a number whose double divides the "
            f"{hop_samples} samples of a token"
        )


def in_phases(audio: AudioBatch, hop_samples: int, phases: int) -> AudioBatch:
    """[phases x b, s]: the batch begun (2 p + 1 - phases) / (2 phases) tokens later, for each phase
    p in turn, so that token u of phase p stands for the p-th part of what token u does. Zeros stand
    for what lies outside; lengths stay."""
    lengths, later = jnp.asarray(audio.lengths), 2 * jnp.arange(phases) + 1 - phases
    shift = jnp.repeat(later * hop_samples // (2 * phases), len(lengths))
    samples = jnp.tile(jnp.asarray(audio.samples), (phases, 1))
    return begun_later(AudioBatch(samples, jnp.tile(lengths, phases)), shift)


def interleaved(features: Float[Array, "pb u d"], phases: int) -> Float[Array, "b pu d"]:
    """What an encoder makes of `in_phases`, in the order of time."""
    batch, tokens, width = features.shape
    by_phase = features.reshape(phases, batch // phases, tokens, width)
    return by_phase.transpose(1, 2, 0, 3).reshape(batch // phases, tokens * phases, width)


def stretches(
    distances: Float[Array, "b t c"], valid: Bool[Array, "b t"], shortest: int
) -> Int[Array, "b t"]:
    """The cluster of each frame, int32, of the division with the least sum of distances.

    Every stretch lasts `shortest` frames or more, at both ends of the valid frames as if it went on
    beyond; frames that are not valid must lie behind those that are, and cost nothing.
    """
    batch, _, clusters = distances.shape
    costs = jnp.where(valid[:, :, None], distances, 0)
    # A stretch may reach beyond the recording at either end.
    costs = jnp.pad(costs, ((0, 0), (shortest - 1, shortest), (0, 0)))

    def forward(carry: tuple, cost_BxC: Array) -> tuple:
        open_BxC, before_BxS, recent_SxBxC = carry
        recent_SxBxC = jnp.concatenate([recent_SxBxC[1:], cost_BxC[None]])
        # A stretch that has reached the shortest length with this frame, after the best one that
        # ended as much before.
        begun_BxC = before_BxS[:, :1] + recent_SxBxC.sum(axis=0)
        continued_BxC = open_BxC + cost_BxC
        is_begun_BxC = begun_BxC < continued_BxC
        open_BxC = jnp.where(is_begun_BxC, begun_BxC, continued_BxC)
        best_B = jnp.argmin(open_BxC, axis=1).astype(jnp.int32)
        # Relative to the least, sums stay small and exact, however long the recording is.
        least_Bx1 = jnp.min(open_BxC, axis=1, keepdims=True)
        has_begun_Bx1 = jnp.isfinite(least_Bx1)
        least_Bx1 = jnp.where(has_begun_Bx1, least_Bx1, 0)
        ended_Bx1 = jnp.where(has_begun_Bx1, 0, jnp.inf)
        before_BxS = jnp.concatenate([before_BxS[:, 1:] - least_Bx1, ended_Bx1], axis=1)
        return (open_BxC - least_Bx1, before_BxS, recent_SxBxC), (is_begun_BxC, best_B)

    nothing_BxC = jnp.full((batch, clusters), jnp.inf, costs.dtype)
    before_BxS = jnp.full((batch, shortest), jnp.inf, costs.dtype).at[:, -1].set(0)
    recent_SxBxC = jnp.zeros((shortest, batch, clusters), costs.dtype)
    start = (nothing_BxC, before_BxS, recent_SxBxC)
    is_begun_TxBxC: Array
    best_TxB: Array
    _, (is_begun_TxBxC, best_TxB) = jax.lax.scan(forward, start, jnp.swapaxes(costs, 0, 1))

    rows_B = jnp.arange(batch)

    def backward(carry: tuple, seen: tuple) -> tuple:
        cluster_B, forced_B, is_over_B = carry
        is_begun_BxC, best_B = seen
        # The stretch before ends here.
        cluster_B = jnp.where(is_over_B, best_B, cluster_B)
        is_begun_B = is_begun_BxC[rows_B, cluster_B] & (forced_B == 0)
        left_B = jnp.where(is_begun_B, shortest, forced_B)
        is_over_B = left_B == 1
        return (cluster_B, jnp.maximum(left_B - 1, 0), is_over_B), cluster_B

    zeros_B = jnp.zeros(batch, jnp.int32)
    start = (zeros_B, zeros_B, jnp.ones(batch, bool))
    ids_TxB: Array
    _, ids_TxB = jax.lax.scan(backward, start, (is_begun_TxBxC, best_TxB), reverse=True)
    return jnp.swapaxes(ids_TxB, 0, 1)[:, shortest - 1 : -shortest]
