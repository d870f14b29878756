"""Positions in time: condition and target of stages 2 and 3 run side by side."""

import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.positions import rotary_positions
from audiolm_jax.stages import StageConfig, build_sequence

TIMED = DecoderConfig(position="time", head_width=4)


def positions(stage, tokens, decoder=TIMED):
    return np.asarray(rotary_positions(np.asarray(tokens)[None], decoder, stage))[0]


def random_sequence(name, rng, coarse=3, levels=5):
    stage = StageConfig(
        name,
        semantic_clusters=9,
        codebook_size=7,
        levels=levels,
        coarse_levels=coarse,
        crop_seconds=1.0,
        deduplicate=False,
    )
    u = int(rng.integers(1, 26))
    codes = rng.integers(0, 7, (2 * u, levels))
    return stage, u, build_sequence(rng.integers(0, 9, u), codes, bool(rng.integers(2)), stage)


@pytest.mark.parametrize("seed", range(10))
def test_a_unit_is_where_the_first_code_of_its_time_is(seed):
    stage, u, sequence = random_sequence("coarse", np.random.default_rng(seed))
    found, begin = positions(stage, sequence.tokens), sequence.target_start
    assert begin == u + 2
    np.testing.assert_array_equal(found[[0, begin - 1]], 0)
    np.testing.assert_array_equal(found[begin:], 1 + np.arange(len(found) - begin))
    np.testing.assert_array_equal(found[1 : begin - 1], found[begin : begin + 6 * u : 6])


@pytest.mark.parametrize("seed", range(10))
def test_a_frame_of_coarse_codes_is_where_its_fine_codes_are(seed):
    stage, u, sequence = random_sequence("fine", np.random.default_rng(seed))
    found, begin = positions(stage, sequence.tokens), sequence.target_start
    condition, target = found[1 : begin - 1].reshape(2 * u, 3), found[begin:].reshape(2 * u, 2)
    np.testing.assert_array_equal(target.reshape(-1), 1 + np.arange(4 * u))
    np.testing.assert_array_equal(condition[:, :2], target)
    np.testing.assert_array_equal(condition[:, 2], target[:, 1] + 1)


def test_each_row_counts_from_its_own_separator_and_a_prompt_cut_before_it_reads_the_same():
    rng = np.random.default_rng(0)
    stage, _, first = random_sequence("coarse", rng)
    second = build_sequence(rng.integers(0, 9, 3), rng.integers(0, 7, (6, 5)), False, stage)
    rows = np.zeros((3, len(first.tokens)), np.int32)
    rows[0], rows[1, : len(second.tokens)] = first.tokens, second.tokens
    found = np.asarray(rotary_positions(rows, TIMED, stage))
    np.testing.assert_array_equal(found[0], positions(stage, first.tokens))
    np.testing.assert_array_equal(found[1, : len(second.tokens)], positions(stage, second.tokens))
    without = second.tokens[: second.target_start - 1]
    np.testing.assert_array_equal(positions(stage, without), found[1, : second.target_start - 1])


def test_stage_one_and_plain_rotation_count_tokens_and_t5_rotates_nothing():
    stage, _, sequence = random_sequence("semantic", np.random.default_rng(0))
    count = np.arange(len(sequence.tokens))
    np.testing.assert_array_equal(positions(stage, sequence.tokens), count)
    coarse, _, sequence = random_sequence("coarse", np.random.default_rng(0))
    rope = DecoderConfig(position="rope", head_width=4)
    count = np.arange(len(sequence.tokens))
    np.testing.assert_array_equal(positions(coarse, sequence.tokens, rope), count)
    assert rotary_positions(sequence.tokens[None], DecoderConfig(), coarse) is None


def test_units_without_their_durations_have_no_time():
    coarse = StageConfig("coarse")
    with pytest.raises(InputError, match="de-duplicated semantic tokens do not tell when"):
        StageModelConfig(coarse, TIMED)
    StageModelConfig(coarse, DecoderConfig(position="rope"))
    StageModelConfig(StageConfig("fine"), TIMED)
