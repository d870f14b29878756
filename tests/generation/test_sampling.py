import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.generation.sampling import (
    check_temperature,
    legal_next,
    legal_table,
    mask_logits,
    row_keys,
    sample,
)
from audiolm_jax.stages import EOS, FIRST_ID, StageConfig

SMALL = {"semantic_clusters": 3, "codebook_size": 2, "levels": 3, "coarse_levels": 2}


def test_illegal_ids_have_exactly_zero_probability_however_likely():
    logits = jnp.array([[1e30, 0.0, 1.0, jnp.nan]])
    legal = jnp.array([[False, True, True, False]])
    probabilities = np.asarray(jax.nn.softmax(mask_logits(logits, legal)))[0]
    assert probabilities[0] == probabilities[3] == 0
    np.testing.assert_allclose(probabilities[1:3], [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)
    ids = sample(
        jnp.repeat(logits, 500, 0),
        jnp.repeat(legal, 500, 0),
        row_keys(jax.random.key(0), 500),
        jnp.float32(5.0),
    )
    assert set(np.asarray(ids)) == {1, 2}


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_samples_follow_the_tempered_distribution(temperature):
    logits = jnp.array([0.0, 1.0, -1.0, 0.5])
    n = 20_000
    ids = sample(
        jnp.broadcast_to(logits[None], (n, 4)),
        jnp.ones((n, 4), bool),
        row_keys(jax.random.key(1), n),
        jnp.float32(temperature),
    )
    expected = np.asarray(jax.nn.softmax(logits / temperature))
    share = np.bincount(np.asarray(ids), minlength=4) / n
    np.testing.assert_allclose(share, expected, atol=4 * np.sqrt(0.25 / n))


def test_temperature_zero_is_the_likeliest_legal_id():
    logits = jax.random.normal(jax.random.key(0), (50, 6))
    legal = np.random.default_rng(0).random((50, 6)) < 0.5
    legal[:, 2] = True
    ids = sample(logits, jnp.asarray(legal), row_keys(jax.random.key(2), 50), jnp.float32(0.0))
    np.testing.assert_array_equal(ids, np.where(legal, logits, -np.inf).argmax(1))


def test_row_keys_do_not_depend_on_the_number_of_rows():
    few, many = (jax.random.key_data(row_keys(jax.random.key(3), n)) for n in (2, 7))
    np.testing.assert_array_equal(few, many[:2])
    assert len(np.unique(many, axis=0)) == 7


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_bad_temperature_is_refused(temperature):
    with pytest.raises(InputError, match=r"^temperature = "):
        check_temperature(temperature)


def legal_set(config, position, previous, allow_end):
    row = legal_next(
        jnp.asarray(legal_table(config)),
        jnp.array([position]),
        jnp.array([previous]),
        jnp.bool_(allow_end),
        config,
    )
    return set(np.flatnonzero(row[0]))


def test_semantic_tokens_never_repeat_and_end_only_when_allowed():
    config = StageConfig("semantic", **SMALL)
    ids = {FIRST_ID, FIRST_ID + 1, FIRST_ID + 2}
    assert legal_set(config, 0, 1, True) == ids | {EOS}
    assert legal_set(config, 5, FIRST_ID + 1, True) == (ids - {FIRST_ID + 1}) | {EOS}
    assert legal_set(config, 5, FIRST_ID + 1, False) == ids - {FIRST_ID + 1}


def test_coarse_codes_may_repeat_and_end_only_between_frames():
    config = StageConfig("coarse", **SMALL)
    start = config.acoustic_start
    assert legal_set(config, 2, start, True) == {start, start + 1, EOS}
    assert legal_set(config, 3, start, True) == {start + 2, start + 3}


def test_fine_codes_never_end():
    config = StageConfig("fine", **SMALL)
    start = config.acoustic_start + 2 * config.codebook_size
    assert legal_set(config, 0, 0, True) == {start, start + 1}


def test_one_cluster_cannot_be_continued():
    with pytest.raises(InputError, match=r"^stage.semantic_clusters = 1"):
        legal_table(StageConfig("semantic", semantic_clusters=1))
