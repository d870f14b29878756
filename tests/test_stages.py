import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.errors import InputError
from audiolm_jax.stages import (
    BOS,
    EOS,
    PAD,
    SEP,
    StageConfig,
    build_sequence,
    condition_tokens,
    deduplicate,
    flatten_levels,
    legal_ids,
    level_rows,
    semantic_ids,
    target_tokens,
    unflatten_levels,
)

NAMES = ("semantic", "coarse", "fine")


@st.composite
def configs(draw, name=None):
    levels = draw(st.integers(2, 5))
    return StageConfig(
        name or draw(st.sampled_from(NAMES)),
        semantic_clusters=draw(st.integers(1, 6)),
        codebook_size=draw(st.integers(1, 5)),
        levels=levels,
        coarse_levels=draw(st.integers(1, levels - 1)),
        crop_seconds=draw(st.integers(1, 8)) / 25,
        deduplicate=draw(st.booleans()),
        semantic_condition=draw(st.booleans()),
    )


@st.composite
def windows(draw, config):
    """Clusters [u] and codes [2u, q] of a window no longer than the crop."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    u = draw(st.integers(1, config.crop_semantic))
    return (
        rng.integers(0, config.semantic_clusters, u),
        rng.integers(0, config.codebook_size, (2 * u, config.levels)),
    )


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_deduplicate_removes_repeats_and_nothing_else(ids):
    out = deduplicate(np.array(ids, np.int64))
    assert (np.diff(out) != 0).all()
    expected = [x for i, x in enumerate(ids) if i == 0 or ids[i - 1] != x]
    assert out.tolist() == expected
    np.testing.assert_array_equal(deduplicate(out), out)


@given(st.data())
def test_flatten_and_back(data):
    config = data.draw(configs(data.draw(st.sampled_from(("coarse", "fine")))))
    levels = config.target_levels
    _, codes = data.draw(windows(config))
    part = codes[:, levels.start : levels.stop]
    ids = flatten_levels(part, levels.start, config)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(unflatten_levels(ids, levels, config), part)
    # Time first, then level; each level in a block of ids of its own.
    for i, token in enumerate(ids):
        frame, column = divmod(i, len(levels))
        offset = config.acoustic_start + (levels.start + column) * config.codebook_size
        assert token == offset + part[frame, column]


def test_offsets_of_a_small_vocabulary():
    sizes = {"semantic_clusters": 10, "codebook_size": 3, "levels": 4, "coarse_levels": 2}
    semantic, coarse, fine = (StageConfig(name, **sizes) for name in NAMES)
    assert (semantic.vocab_size, coarse.vocab_size, fine.vocab_size) == (14, 20, 16)
    clusters, codes = np.array([4, 4, 9]), np.array([[0, 1, 2, 0], [2, 2, 0, 1]])
    assert target_tokens(clusters, codes, semantic).tolist() == [8, 13]
    assert condition_tokens(clusters, codes, coarse).tolist() == [BOS, 8, 13, SEP]
    assert target_tokens(clusters, codes, coarse).tolist() == [14, 18, 16, 19]
    every = dataclasses.replace(semantic, deduplicate=False)
    assert target_tokens(clusters, codes, every).tolist() == [8, 8, 13]
    every = dataclasses.replace(coarse, deduplicate=False)
    assert condition_tokens(clusters, codes, every).tolist() == [BOS, 8, 8, 13, SEP]
    alone = dataclasses.replace(coarse, semantic_condition=False)
    assert condition_tokens(clusters, codes, alone).tolist() == [BOS, SEP]
    assert alone.tokenizers == ("codec",)
    assert condition_tokens(clusters, codes, fine).tolist() == [BOS, 4, 8, 6, 9, SEP]
    assert target_tokens(clusters, codes, fine).tolist() == [12, 13, 10, 14]


def test_paper_sizes():
    semantic, coarse, fine = (
        StageConfig(name, 1024, 1024, 12, crop_seconds=seconds)
        for name, seconds in zip(NAMES, (30.0, 10.0, 3.0), strict=True)
    )
    assert semantic.max_tokens == 750 + 2
    assert coarse.max_tokens == 250 + 2000 + 3
    assert fine.max_tokens == 600 + 1200 + 2
    assert coarse.vocab_size == 4 + 1024 + 4 * 1024
    assert fine.vocab_size == 4 + 12 * 1024


@given(st.data())
def test_sequences_have_their_parts_in_order_and_fit_the_crop(data):
    config = data.draw(configs())
    clusters, codes = data.draw(windows(config))
    ends = data.draw(st.booleans())
    sequence = build_sequence(clusters, codes, ends, config)
    tokens, start = sequence.tokens, sequence.target_start
    u = len(clusters)
    kept = len(deduplicate(clusters)) if config.deduplicate else u
    condition = {
        "semantic": 1,
        "coarse": kept * config.semantic_condition + 2,
        "fine": 2 * u * config.coarse_levels + 2,
    }[config.name]
    target = {
        "semantic": kept,
        "coarse": 2 * u * config.coarse_levels,
        "fine": 2 * u * (config.levels - config.coarse_levels),
    }[config.name]
    end = int(ends and config.name != "fine")
    assert start == condition
    assert len(tokens) == condition + target + end <= config.max_tokens
    assert tokens.dtype == np.int32
    assert tokens[0] == BOS
    assert (tokens == BOS).sum() == 1
    assert (tokens == SEP).sum() == (config.name != "semantic")
    assert config.name == "semantic" or tokens[start - 1] == SEP
    assert (tokens == EOS).sum() == end
    assert not end or tokens[-1] == EOS
    assert PAD not in tokens
    assert tokens.max() < config.vocab_size


def test_the_longest_sequence_reaches_max_tokens():
    for name in NAMES:
        config = StageConfig(name, 4, 3, levels=3, coarse_levels=1, crop_seconds=0.4)
        clusters = np.arange(config.crop_semantic) % 4
        codes = np.zeros((config.crop_frames, 3), int)
        sequence = build_sequence(clusters, codes, True, config)
        assert len(sequence.tokens) == config.max_tokens


@given(st.data())
def test_every_target_token_is_legal_where_it_stands(data):
    config = data.draw(configs())
    clusters, codes = data.draw(windows(config))
    sequence = build_sequence(clusters, codes, data.draw(st.booleans()), config)
    table = legal_ids(config)
    targets = sequence.tokens[sequence.target_start :]
    assert table[np.arange(len(targets)) % len(table), targets].all()


@pytest.mark.parametrize("name", NAMES)
def test_no_id_is_legal_that_training_data_cannot_hold(name):
    config = StageConfig(name, 3, 2, levels=4, coarse_levels=2, crop_seconds=0.4)
    rng = np.random.default_rng(0)
    seen = np.zeros_like(legal_ids(config))
    for _ in range(200):
        u = rng.integers(1, 11)
        sequence = build_sequence(
            rng.integers(0, 3, u), rng.integers(0, 2, (2 * u, 4)), True, config
        )
        targets = sequence.tokens[sequence.target_start :]
        seen[np.arange(len(targets)) % len(seen), targets] = True
    np.testing.assert_array_equal(seen, legal_ids(config))


@given(st.data())
def test_level_rows_name_the_level_of_every_target(data):
    config = data.draw(configs())
    clusters, codes = data.draw(windows(config))
    ends = data.draw(st.booleans()) and config.has_end_token
    sequence = build_sequence(clusters, codes, ends, config)
    targets = sequence.tokens[sequence.target_start :]
    rows = level_rows(len(targets), ends, config)
    assert len(rows) == len(targets)
    for token, row in zip(targets, rows, strict=True):
        name = config.level_names[row]
        if token == EOS:
            assert name == "end"
        elif config.name == "semantic":
            assert name == "semantic"
        else:
            level = (token - config.acoustic_start) // config.codebook_size
            assert name == f"level_{level}"


@pytest.mark.parametrize("tokens", range(1, 800, 7))
def test_every_whole_number_of_tokens_is_a_crop(tokens):
    assert StageConfig("semantic", crop_seconds=tokens / 25).crop_semantic == tokens


@pytest.mark.parametrize("bad", [-1, 4])
def test_codes_and_clusters_out_of_range_are_refused(bad):
    coarse = StageConfig("coarse", 4, 4, levels=3, coarse_levels=2)
    with pytest.raises(ValueError, match=r"semantic clusters span .* expected \[0, 4\)"):
        semantic_ids(np.array([0, bad]), coarse)
    with pytest.raises(ValueError, match=r"codes span .* expected \[0, 4\)"):
        flatten_levels(np.array([[0, bad]]), 0, coarse)


def test_misplaced_or_missing_ids_are_refused():
    coarse = StageConfig("coarse", 4, 4, levels=3, coarse_levels=2)
    ids = flatten_levels(np.array([[1, 2], [3, 0]]), 0, coarse)
    with pytest.raises(ValueError, match="do not fill frames"):
        unflatten_levels(ids[:3], range(2), coarse)
    with pytest.raises(ValueError, match="outside the level"):
        unflatten_levels(ids[[1, 0, 2, 3]], range(2), coarse)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coarse_levels": 0}, "--model.stage.coarse-levels 0"),
        ({"coarse_levels": 13}, "--model.stage.coarse-levels 13"),
        ({"name": "fine", "coarse_levels": 12}, "leaves the fine stage nothing"),
        ({"semantic_rate_hz": 40}, "--model.stage.acoustic-rate-hz 50"),
        ({"crop_seconds": 0.0}, "--model.stage.crop-seconds 0.0"),
        ({"crop_seconds": float("nan")}, "--model.stage.crop-seconds nan"),
        ({"crop_seconds": 0.03}, "--model.stage.crop-seconds 0.03"),
    ],
)
def test_bad_configs_are_refused_by_field(fields, message):
    with pytest.raises(InputError, match=message):
        StageConfig(**({"name": "coarse", "levels": 12} | fields))


def test_sizes_that_are_not_given_come_from_elsewhere():
    config = StageConfig("coarse", codebook_size=7)
    assert not config.is_sized
    sized = config.sized(semantic_clusters=5, codebook_size=99, levels=6)
    assert (sized.semantic_clusters, sized.codebook_size, sized.levels) == (5, 7, 6)
    assert sized.is_sized
    with pytest.raises(
        InputError, match=r"coarse-levels 4: expected 1 to --model\.stage\.levels 3"
    ):
        config.sized(5, 7, 3)
    with pytest.raises(InputError, match="levels -1"):
        StageConfig("coarse", levels=-1)
