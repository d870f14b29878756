import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from audiolm_jax.errors import InputError
from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.sampling import (
    draw_of,
    legal_next,
    legal_table,
    log_probabilities,
    mask_logits,
    sample,
    seed_key,
    withhold_end,
)
from audiolm_jax.stages import EOS, FIRST_ID, StageConfig

SMALL = {"semantic_clusters": 3, "codebook_size": 2, "levels": 3, "coarse_levels": 2}
# Name, levels, coarse levels: the paper's speech, its piano without a fine stage, and others.
LAYOUTS = [
    (name, levels, coarse)
    for levels, coarse in ((12, 4), (3, 3), (12, 1), (8, 7), (1, 1))
    for name in ("semantic", "coarse", "fine")
    if name != "fine" or coarse < levels
]


compiled = jax.jit(sample, static_argnames="truncates")


def draw(logits, legal, seed=0, index=0, **sampling):
    """One id for each row, which has words of its own."""
    sampling = Sampling(**sampling)
    words = jax.random.key_data(jax.random.split(seed_key(seed), len(logits)))
    arrays = jnp.asarray(logits), jnp.asarray(legal), words, jnp.int32(index)
    return np.asarray(compiled(*arrays, draw_of(sampling), truncates=sampling.truncates))


def test_illegal_ids_have_exactly_zero_probability_however_likely():
    logits = jnp.array([[1e30, 0.0, 1.0, jnp.nan]])
    legal = jnp.array([[False, True, True, False]])
    probabilities = np.asarray(jax.nn.softmax(mask_logits(logits, legal)))[0]
    assert probabilities[0] == probabilities[3] == 0
    np.testing.assert_allclose(probabilities[1:3], [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)
    found = log_probabilities(jnp.repeat(logits, 4, 0), jnp.repeat(legal, 4, 0), jnp.arange(4))
    np.testing.assert_allclose(np.exp(found), probabilities, rtol=1e-6)
    for more in ({}, {"top_k": 3}, {"top_p": 0.9999}):
        ids = draw(jnp.repeat(logits, 500, 0), jnp.repeat(legal, 500, 0), temperature=5.0, **more)
        assert set(ids) == {1, 2}


@pytest.mark.parametrize(("name", "levels", "coarse"), LAYOUTS)
def test_every_position_of_every_layout_admits_its_level_alone(name, levels, coarse):
    config = StageConfig(name, 5, 4, levels, coarse)
    size, start = config.vocab_size, FIRST_ID
    targets = list(range(levels))[:coarse] if name == "coarse" else list(range(coarse, levels))
    if name == "coarse":
        start += 5
    positions = np.arange(30)
    table = jnp.asarray(legal_table(config))
    legal = legal_next(table, jnp.asarray(positions), jnp.zeros(30, int), config)
    legal = withhold_end(legal, jnp.asarray(positions % 4 != 0))
    probabilities = np.asarray(jax.nn.softmax(mask_logits(jnp.full((30, size), 3.0), legal)))
    for position, row in zip(positions, probabilities, strict=True):
        if name == "semantic":
            expected = set(range(FIRST_ID, FIRST_ID + 5))
            first = True
        else:
            number = position % len(targets)
            first = number == 0
            begin = start + 4 * targets[number]
            expected = set(range(begin, begin + 4))
        if first and name != "fine" and position % 4 != 0:
            expected.add(EOS)
        assert set(np.flatnonzero(row > 0)) == expected


def exact(logits, legal, temperature, top_k=0, top_p=1.0):
    """The distribution, id by id, without a sort of arrays."""
    logits = logits.astype(np.float64)
    ids = sorted((i for i in range(len(logits)) if legal[i]), key=lambda i: -logits[i])
    ids = ids[:top_k] if top_k else ids
    weights = {i: np.exp((logits[i] - logits[ids[0]]) / temperature) for i in ids}
    total, before, kept = sum(weights.values()), 0.0, {}
    for i in ids:
        if before < top_p:
            kept[i] = weights[i]
        before += weights[i] / total
    return np.array([kept.get(i, 0) for i in range(len(logits))]) / sum(kept.values())


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 0.3},
        {"temperature": 1.0},
        {"temperature": 2.0},
        {"temperature": 0.8, "top_k": 3},
        {"temperature": 1.5, "top_p": 0.7},
        {"temperature": 1.2, "top_k": 5, "top_p": 0.8},
    ],
    ids=str,
)
def test_draws_follow_the_exact_distribution(how):
    """2,000 of them; of a key each, and of one key with an index each."""
    logits = np.random.default_rng(0).normal(0, 1.5, 9).astype(np.float32)
    legal = np.arange(9) != 4
    expected = exact(logits, legal, **how)
    by_key = draw(np.tile(logits, (2000, 1)), np.tile(legal, (2000, 1)), **how)
    sampling = Sampling(**how)
    words = jax.random.key_data(seed_key(7))[None]
    row = jnp.asarray(logits)[None], jnp.asarray(legal)[None], words
    one = lambda index: sample(*row, index, draw_of(sampling), sampling.truncates)  # noqa: E731
    by_index = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(2000)))[:, 0]
    for ids in (by_key, by_index):
        counts = np.bincount(ids, minlength=9)
        assert (counts[expected == 0] == 0).all()
        possible = expected > 0
        assert chisquare(counts[possible], 2000 * expected[possible]).pvalue > 1e-3


def test_draws_of_one_key_do_not_depend_on_each_other():
    """Two successive draws of four equally likely ids: all sixteen pairs are equally likely."""
    flat = np.zeros((4000, 4), np.float32), np.ones((4000, 4), bool)
    first, second = (draw(*flat, index=index, temperature=1.0) for index in (0, 1))
    pairs = np.bincount(first * 4 + second, minlength=16)
    assert chisquare(pairs).pvalue > 1e-3


def test_truncation_that_cuts_nothing_off_changes_no_draw():
    logits = np.random.default_rng(1).normal(size=(200, 6)).astype(np.float32)
    legal = np.ones((200, 6), bool)
    plain = draw(logits, legal, temperature=1.0)
    np.testing.assert_array_equal(draw(logits, legal, temperature=1.0, top_k=6), plain)
    np.testing.assert_array_equal(draw(logits, legal, temperature=1.0, top_p=0.999999), plain)


def test_of_equal_logits_top_k_leaves_just_so_many():
    ids = draw(np.zeros((300, 8), np.float32), np.ones((300, 8), bool), temperature=1.0, top_k=2)
    assert set(ids) == {0, 1}


@pytest.mark.parametrize("more", [{}, {"top_k": 4}, {"top_p": 0.5}])
def test_temperature_zero_is_the_likeliest_legal_id(more):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 6)).astype(np.float32)
    legal = rng.random((50, 6)) < 0.5
    legal[:, 2] = True
    ids = draw(logits, legal, temperature=0.0, **more)
    np.testing.assert_array_equal(ids, np.where(legal, logits, -np.inf).argmax(1))


def test_no_two_seeds_share_a_key():
    seeds = [0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]
    data = {tuple(np.asarray(jax.random.key_data(seed_key(seed))).tolist()) for seed in seeds}
    assert len(data) == len(seeds)
    np.testing.assert_array_equal(
        jax.random.key_data(seed_key(5)), jax.random.key_data(jax.random.key(5))
    )


@pytest.mark.parametrize("seed", [-1, 2**64, True])
def test_seeds_that_are_none_are_refused(seed):
    with pytest.raises(InputError, match=rf"^--seed {seed}: expected"):
        seed_key(seed)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": -0.1}, r"temperature -0\.1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"top_k": -1}, "top-k -1"),
        ({"top_p": 0.0}, r"top-p 0\.0"),
        ({"top_p": 1.1}, r"top-p 1\.1"),
        ({"top_p": float("nan")}, "top-p nan"),
    ],
)
def test_bad_values_are_refused_by_the_name_of_their_flag(values, words):
    with pytest.raises(InputError, match=rf"^--generation\.coarse\.{words}: expected [^\n]+$"):
        Sampling(**{"temperature": 1.0, **values}).check("--generation.coarse")


def legal_set(config, position, previous, allow_end):
    table = jnp.asarray(legal_table(config))
    row = legal_next(table, jnp.array([position]), jnp.array([previous]), config)
    return set(np.flatnonzero(withhold_end(row, jnp.array([allow_end]))[0]))


def test_semantic_tokens_never_repeat_and_end_only_when_allowed():
    config = StageConfig("semantic", **SMALL)
    ids = {FIRST_ID, FIRST_ID + 1, FIRST_ID + 2}
    assert legal_set(config, 0, 1, True) == ids | {EOS}
    assert legal_set(config, 5, FIRST_ID + 1, True) == (ids - {FIRST_ID + 1}) | {EOS}
    assert legal_set(config, 5, FIRST_ID + 1, False) == ids - {FIRST_ID + 1}


def test_one_cluster_cannot_be_continued():
    with pytest.raises(InputError, match=r"^stage.semantic_clusters = 1"):
        legal_table(StageConfig("semantic", semantic_clusters=1))
