"""The n-gram yardsticks against sources whose entropy is known."""

import dataclasses

import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.likelihood import stage_likelihood
from audiolm_jax.evaluation.measures.ngram import NgramModel, targets_of
from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    Sequence,
    StageConfig,
    build_sequence,
    legal_ids,
)

SEMANTIC = StageConfig("semantic", semantic_clusters=12)
COARSE = StageConfig("coarse", semantic_clusters=5, codebook_size=6, levels=4, coarse_levels=2)
FINE = dataclasses.replace(COARSE, name="fine")


def markov_chain(size, length, rng, transition):
    """A walk that never stays, as de-duplicated tokens do not."""
    state = rng.integers(size)
    walk = np.empty(length, np.int64)
    draws = rng.random(length)
    cumulative = transition.cumsum(1)
    for i in range(length):
        walk[i] = state
        state = min(int(np.searchsorted(cumulative[state], draws[i])), size - 1)
    return walk


def semantic_sequences(walks):
    return [
        Sequence(np.concatenate([[BOS], walk + FIRST_ID]).astype(np.int32), target_start=1)
        for walk in walks
    ]


def random_transition(size, rng):
    transition = rng.dirichlet(np.full(size, 0.3), size) + 1e-3
    np.fill_diagonal(transition, 0.0)
    return transition / transition.sum(1, keepdims=True)


def entropy_rate(transition):
    values, vectors = np.linalg.eig(transition.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    logs = np.log(transition, where=transition > 0, out=np.zeros_like(transition))
    return float(-(stationary[:, None] * transition * logs).sum())


def bigram_nats(config, train, heldout):
    losses = dict.fromkeys(config.level_names, 1.0)
    return stage_likelihood(config, train, heldout, losses).total.bigram_nats


def test_bigram_reaches_the_entropy_rate_of_a_markov_chain_and_not_less():
    rng = np.random.default_rng(0)
    transition = random_transition(12, rng)
    walks = [markov_chain(12, 500, rng, transition) for _ in range(60)]
    heldout = semantic_sequences(walks[:20])
    little = bigram_nats(SEMANTIC, semantic_sequences(walks[20:22]), heldout)
    much = bigram_nats(SEMANTIC, semantic_sequences(walks[20:]), heldout)
    truth = entropy_rate(transition)
    # 10,000 held-out tokens scatter by about 0.01 around the rate.
    assert truth - 0.03 < much < truth + 0.04
    assert much < little


def test_bigram_learns_nothing_from_uniform_noise():
    rng = np.random.default_rng(1)
    config = dataclasses.replace(SEMANTIC, semantic_clusters=200)
    walks = [rng.integers(200, size=100) for _ in range(40)]
    # The pairs of 3,000 training tokens hold no information about the others.
    nats = bigram_nats(config, semantic_sequences(walks[:30]), semantic_sequences(walks[30:]))
    assert np.log(200) - 1e-3 < nats < np.log(200) + 0.1


def test_a_recording_that_repeats_itself_does_not_vouch_for_its_pairs():
    """Each sequence cycles through pairs of its own: true within it, useless for others."""
    rng = np.random.default_rng(2)
    config = dataclasses.replace(SEMANTIC, semantic_clusters=100)
    walks = [np.tile(rng.permutation(100)[:20], 20) for _ in range(30)]
    nats = bigram_nats(config, semantic_sequences(walks[:20]), semantic_sequences(walks[20:]))
    assert nats < np.log(100) + 0.25


def test_repetition_of_a_sequence_is_learnt():
    walk = np.arange(12)
    train = semantic_sequences([walk] * 50)
    assert bigram_nats(SEMANTIC, train, train[:1]) < 0.1


def coarse_and_fine(config, rng, clips):
    sequences = []
    for _ in range(clips):
        semantic = rng.integers(config.semantic_clusters, size=20)
        codes = rng.integers(config.codebook_size, size=(40, config.levels))
        codes[:, 1] = (codes[:, 0] + 1) % config.codebook_size  # level 1 follows from level 0
        codes[:, 2] = codes[:, 2] // 3  # level 2 has two codes
        codes[:, 3] = 5  # level 3 is constant
        sequences.append(build_sequence(semantic, codes, True, config))
    return sequences


def order_2_walk(length, rng, table):
    """Each token is drawn after the two before it."""
    walk = list(rng.integers(len(table), size=2))
    while len(walk) < length:
        walk.append(rng.choice(len(table), p=table[walk[-2], walk[-1]]))
    return np.array(walk)


def test_a_fivegram_knows_what_a_bigram_cannot():
    rng = np.random.default_rng(6)
    table = rng.dirichlet(np.full(6, 0.2), (6, 6)) + 1e-6
    table /= table.sum(-1, keepdims=True)
    walks = [order_2_walk(300, rng, table) for _ in range(50)]
    train, heldout = semantic_sequences(walks[:40]), semantic_sequences(walks[40:])
    report = stage_likelihood(SEMANTIC, train, heldout, {"semantic": 1.0, "end": 1.0})
    tokens = [(w[i - 2], w[i - 1], w[i]) for w in walks[40:] for i in range(2, len(w))]
    truth = -np.mean([np.log(table[each]) for each in tokens])
    assert truth < report.total.fivegram_nats < truth + 0.06
    assert report.total.fivegram_nats < report.total.bigram_nats - 0.1


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_an_ngram_is_a_distribution_after_any_history(order):
    rng = np.random.default_rng(order)
    walks = [rng.integers(4, size=rng.integers(1, 30)) for _ in range(8)]
    model = NgramModel(semantic_sequences(walks), SEMANTIC, order)
    legal = np.flatnonzero(legal_ids(SEMANTIC)[0])
    for walk in ([], [0], [3, 1, 2], [9, 9, 9, 9, 9], list(walks[0][:6])):  # 9 was never seen
        nexts = [Sequence(np.array([BOS, *(np.array(walk, int) + FIRST_ID), x]), 1) for x in legal]
        targets = targets_of(nexts, SEMANTIC, "test", order - 1)
        last = np.cumsum([len(s.tokens) - 1 for s in nexts]) - 1
        for nats in model.nats(targets):
            assert np.exp(-nats[last]).sum() == pytest.approx(1.0, abs=1e-12)


def test_an_interpolated_bigram_by_hand():
    """Two training sequences 0 1 and 0 1 0: each is predicted from the other."""
    walks = [np.array([0, 1]), np.array([0, 1, 0])]
    model = NgramModel(semantic_sequences(walks), SEMANTIC, 2)
    (nats_1, nats_2) = model.nats(
        targets_of(semantic_sequences([np.array([0, 1])]), SEMANTIC, "test", 1)
    )
    even = 1 / len(np.flatnonzero(legal_ids(SEMANTIC)[0]))
    # Level: 5 tokens, of which 3 are 0 and 2 are 1. Its weight lies between 0 and 1.
    w = (np.exp(-nats_1[0]) - even) / (3 / 5 - even)
    assert 0.5 < w < 1
    assert np.exp(-nats_1[1]) == pytest.approx(w * 2 / 5 + (1 - w) * even)
    # After the beginning always 0, after 0 always 1.
    v = (np.exp(-nats_2[1]) - np.exp(-nats_1[1])) / (1 - np.exp(-nats_1[1]))
    assert 0.5 < v < 1


def test_losses_of_sequences_are_those_of_each_alone():
    rng = np.random.default_rng(7)
    walks = [rng.integers(12, size=n) for n in (5, 30, 1, 12, 9)]
    model = NgramModel(semantic_sequences(walks), SEMANTIC, 3)
    together = model.losses(semantic_sequences(walks))
    assert [[len(own) for own in nats] for nats in together] == [[len(w) for w in walks]] * 3
    for number, sequence in enumerate(semantic_sequences(walks)):
        for nats, alone in zip(together, model.losses([sequence]), strict=True):
            np.testing.assert_allclose(nats[number], alone[0])


def test_rows_of_the_coarse_stage():
    sequences = coarse_and_fine(COARSE, np.random.default_rng(3), 60)
    losses = {"level_0": 1.5, "level_1": 0.5, "end": 2.0}
    counts = {"level_0": 400.0, "level_1": 400.0, "end": 10.0}
    report = stage_likelihood(COARSE, sequences[:50], sequences[50:], losses, counts)
    assert [row.level for row in report.rows] == ["level_0", "level_1", "end", "all"]
    first, second, end, total = report.rows
    assert [row.tokens for row in report.rows] == [400, 400, 10, 800]
    assert first.log_vocabulary == second.log_vocabulary == pytest.approx(np.log(6))
    assert first.unigram_nats == pytest.approx(np.log(6), abs=0.03)
    # An end may come before each frame, so a code there costs at least -log(40/41) more.
    assert first.bigram_nats == pytest.approx(np.log(6) - np.log(40 / 41), abs=0.05)
    assert second.bigram_nats < 0.02 < second.unigram_nats
    assert end.unigram_nats == pytest.approx(np.log(41))
    assert end.bigram_nats == pytest.approx(np.log(41), abs=0.3)
    assert end.log_vocabulary == pytest.approx(np.log(7))
    assert total.model_nats == pytest.approx(1.0)
    assert total.unigram_nats == pytest.approx((first.unigram_nats + second.unigram_nats) / 2)
    assert total.percent_below_unigram == pytest.approx(100 * (1 - 1.0 / total.unigram_nats))
    assert total.percent_below_bigram == pytest.approx(100 * (1 - 1.0 / total.bigram_nats))
    assert [row.exchanged_nats for row in report.rows] == [None] * 4
    told = {"level_0": 3.0, "level_1": 1.0, "end": 2.5}
    report = stage_likelihood(COARSE, sequences[:50], sequences[50:], losses, counts, told)
    assert [row.exchanged_nats for row in report.rows] == [3.0, 1.0, 2.5, pytest.approx(2.0)]


def test_rows_of_the_fine_stage_have_no_end():
    sequences = coarse_and_fine(FINE, np.random.default_rng(4), 30)
    losses = {"level_2": 0.7, "level_3": 0.0}
    report = stage_likelihood(FINE, sequences[:20], sequences[20:], losses)
    assert [row.level for row in report.rows] == ["level_2", "level_3", "all"]
    assert report.rows[0].unigram_nats == pytest.approx(np.log(2), abs=0.02)
    assert report.rows[1].unigram_nats == 0.0
    assert np.isnan(report.rows[1].percent_below_unigram)
    assert report.rows[1].bigram_nats < 0.01


def test_unseen_tokens_and_contexts_cost_a_finite_loss():
    train = semantic_sequences([np.array([0, 1, 0, 1])] * 3)
    heldout = semantic_sequences([np.array([11, 10, 9])])
    assert np.isfinite(bigram_nats(SEMANTIC, train, heldout))


def test_bigram_is_a_distribution_over_legal_ids():
    """Summed over every legal next token after each context, probabilities make one."""
    rng = np.random.default_rng(5)
    config = dataclasses.replace(COARSE, semantic_clusters=4)
    train = coarse_and_fine(config, rng, 10)
    base = train[0]
    start = base.target_start
    for cut in (start, start + 1, start + 2):  # after SEP, after level 0, after level 1
        level = (cut - start) % 2
        block = config.acoustic_start + level * config.codebook_size + np.arange(6)
        legal = [*block, EOS] if level == 0 else list(block)
        total = 0.0
        for token in legal:
            prefix = base.tokens[:cut]
            sequence = Sequence(np.append(prefix, token), start)
            report = stage_likelihood(
                config, train, [sequence, train[1]], dict.fromkeys(config.level_names, 1.0)
            )
            alone = stage_likelihood(
                config,
                train,
                [Sequence(prefix, start), train[1]],
                dict.fromkeys(config.level_names, 1.0),
            )
            nats = sum(r.tokens * r.bigram_nats for r in report.rows[:-1])
            nats -= sum(r.tokens * r.bigram_nats for r in alone.rows[:-1])
            total += np.exp(-nats)
        assert total == pytest.approx(1.0, abs=1e-9)


def test_what_does_not_fit_is_refused():
    train = semantic_sequences([np.array([0, 1, 2])] * 3)
    losses = {"semantic": 1.0}
    with pytest.raises(ValueError, match="model loss of semantic is nan"):
        stage_likelihood(SEMANTIC, train, train, {"loss": 1.0})
    with pytest.raises(ValueError, match="model loss of semantic is nan"):
        stage_likelihood(SEMANTIC, train, train, {"semantic": float("nan")})
    with pytest.raises(ValueError, match="mean over 8 tokens"):
        stage_likelihood(SEMANTIC, train, train, losses, {"semantic": 8.0})
    with pytest.raises(InputError, match="no held-out tokens"):
        stage_likelihood(SEMANTIC, train, [], losses)
    with pytest.raises(InputError, match="at least two"):
        stage_likelihood(SEMANTIC, train[:1], train, losses)
    with pytest.raises(ValueError, match="level does not admit"):
        stage_likelihood(SEMANTIC, train, [Sequence(np.array([BOS, 99]), 1)], losses)
