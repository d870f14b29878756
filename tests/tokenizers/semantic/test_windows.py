"""Long recordings: what their tokens depend on, and what they do not."""

import json

import numpy as np
import pytest
from support.tiny_models import KMEANS, voice

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.config import Clustering
from audiolm_jax.tokenizers.semantic.tokenizer import (
    load_semantic_tokenizer,
    save_semantic_tokenizer,
)
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.tokenizers.semantic.windows import (
    TOKENS_TOGETHER,
    bucket_tokens,
    in_windows,
    pieces_of,
)
from audiolm_jax.types import AudioBatch

HOP = 640
SMALL = WindowConfig(tokens=30, context=17)  # pieces of at most 64 tokens: one program


def sound(seconds, seed=0):
    """Tones that change every second."""
    parts = [voice(1.0, 80 + 37 * (seed + i) % 400, seed + i) for i in range(int(seconds) + 1)]
    return np.concatenate(parts)[: round(seconds * 16000)]


@pytest.fixture(scope="module")
def parts(tiny_bundle):
    return tiny_bundle.parent / "parts"


def write_tokenizer(directory, parts, window):
    arrays = load_model(parts / "semantic").arrays
    found = Clustering(*(arrays[f"kmeans.{name}"] for name in ("mean", "std", "centroids")))
    return save_semantic_tokenizer(directory, parts / "encoder", KMEANS.layer, found, {}, window)


@pytest.fixture(scope="module")
def tokenizer(parts, tmp_path_factory):
    directory = tmp_path_factory.mktemp("small") / "semantic"
    write_tokenizer(directory, parts, SMALL)
    return load_semantic_tokenizer(directory)


@pytest.mark.parametrize("window", [SMALL, WindowConfig(1, 0), WindowConfig(5, 20), WindowConfig()])
def test_every_token_is_kept_once_and_hears_its_context(window):
    tokens, context = window.tokens, window.context
    for count in [*range(200), 767, 768, 895, 896, 897, 15_000]:
        pieces = list(pieces_of(3, count, window))
        kept = [u for piece in pieces for u in range(piece.first, piece.last)]
        assert kept == list(range(count))
        for number, piece in enumerate(pieces):
            assert piece.first == number * tokens
            assert piece.begin == max(0, piece.first - context)
            assert piece.end == min(piece.first + tokens + context, count)
            assert piece.last <= piece.end <= piece.begin + tokens + 2 * context
            assert min(piece.last + context, count) <= piece.end or piece.end == count
        if 0 < count <= tokens + context:
            assert len(pieces) == 1


def local(reach, calls):
    """An encoder that hears `reach` tokens to either side, in whole numbers: exact sums."""

    def encode(audio):
        calls.append(audio.samples.shape)
        rows, size = audio.samples.shape
        inside = np.arange(size)[None] < audio.lengths[:, None]
        tokens = np.where(inside, audio.samples, 0).reshape(rows, size // HOP, HOP).sum(-1)
        padded = np.pad(tokens, ((0, 0), (reach, reach)))
        return sum((k + 1) * padded[:, k:][:, : tokens.shape[1]] for k in range(2 * reach + 1))

    return encode


def whole_numbers(lengths):
    rng = np.random.default_rng(0)
    return AudioBatch.from_clips([rng.integers(-9, 9, n).astype(np.float32) for n in lengths])


def test_an_encoder_that_hears_no_farther_than_the_context_gives_the_same_on_any_window():
    audio = whole_numbers([70_000, 33, 40_960, 0, 41_001])
    calls: list[tuple] = []
    expected, lengths = in_windows(
        local(7, calls), audio, HOP, WindowConfig(), np.zeros((), np.float32)
    )
    np.testing.assert_array_equal(lengths, [110, 1, 64, 0, 65])
    assert expected.any(axis=1).tolist() == [True, True, True, False, True]
    for window in (WindowConfig(20, 7), WindowConfig(1, 7), WindowConfig(33, 40)):
        found, _ = in_windows(local(7, calls), audio, HOP, window, np.zeros((), np.float32))
        np.testing.assert_array_equal(found, expected)
    less, _ = in_windows(local(7, calls), audio, HOP, WindowConfig(20, 6), np.zeros((), np.float32))
    wrong = np.flatnonzero(less[0] != expected[0])
    assert {0, 19} <= set(wrong % 20)  # only the tokens beside a cut
    assert set(wrong % 20) <= {0, 19}


def test_programs_are_few_and_take_a_fixed_number_of_pieces():
    calls: list[tuple] = []
    for count in range(1, 12):
        audio = whole_numbers([count * 9 * HOP] * count)
        in_windows(local(0, calls), audio, HOP, WindowConfig(300, 50), np.zeros((), np.float32))
    assert {size for _, size in calls} == {64 * HOP, 96 * HOP, 128 * HOP}
    assert all(rows == TOKENS_TOGETHER // (size // HOP) for rows, size in calls)


def test_tokens_of_a_long_recording_do_not_depend_on_its_batch(tokenizer):
    clips = [sound(9.13, 3), sound(1.0, 50), sound(2.6, 90), sound(4.011, 140), sound(0.01, 7)]
    together = tokenizer.encode(AudioBatch.from_clips(clips))
    back = tokenizer.encode(AudioBatch.from_clips(clips[::-1]))
    batch = AudioBatch.from_clips(clips)
    inside = np.arange(batch.samples.shape[1]) < batch.lengths[:, None]
    dirty = tokenizer.encode(AudioBatch(np.where(inside, batch.samples, np.nan), batch.lengths))
    np.testing.assert_array_equal(dirty.ids, together.ids)
    assert len(np.unique(together.ids[0])) > 2
    for row, clip in enumerate(clips):
        alone = tokenizer.encode(AudioBatch.from_clips([clip]))
        count = -(-len(clip) // HOP)
        assert alone.ids.shape == (1, count)
        assert alone.lengths[0] == together.lengths[row] == count
        np.testing.assert_array_equal(together.ids[row, :count], alone.ids[0])
        np.testing.assert_array_equal(back.ids[-1 - row, :count], alone.ids[0])
        assert not together.ids[row, count:].any()


def test_tokens_hear_no_farther_than_their_window_and_its_context(tokenizer):
    """What follows changes no token of an earlier window: a recording may grow."""
    clip = sound(9.13, 3)
    whole = tokenizer.encode(AudioBatch.from_clips([clip])).ids[0]
    for windows in (1, 3):
        end = (windows * SMALL.tokens + SMALL.context) * HOP
        begun = tokenizer.encode(AudioBatch.from_clips([clip[:end]])).ids[0]
        kept = windows * SMALL.tokens
        np.testing.assert_array_equal(begun[:kept], whole[:kept])
        changed = np.concatenate([clip[:end], np.zeros(9000, np.float32)])
        changed = tokenizer.encode(AudioBatch.from_clips([changed])).ids[0]
        np.testing.assert_array_equal(changed[:kept], whole[:kept])


def test_the_window_is_a_part_of_the_tokenizer(parts, tmp_path):
    prints = {
        write_tokenizer(tmp_path / "a", parts, SMALL),
        write_tokenizer(tmp_path / "b", parts, WindowConfig(31, 17)),
    }
    assert len(prints) == 2
    assert load_semantic_tokenizer(tmp_path / "a").config.window == SMALL
    record = json.loads((tmp_path / "b" / "model.json").read_text())
    assert record["config"]["window"] == {"tokens": 31, "context": 17}
    for name, value in (("tokens", 0), ("context", -1)):
        with pytest.raises(InputError, match=f"^--window.{name} = {value}: "):
            WindowConfig(**{name: value})


def test_windows_that_hold_the_recording_give_the_same_tokens(parts, tmp_path):
    clip = AudioBatch.from_clips([sound(2.5)])
    found = []
    for window in (WindowConfig(45, 18), WindowConfig()):
        write_tokenizer(tmp_path / "x", parts, window)
        found.append(load_semantic_tokenizer(tmp_path / "x").encode(clip).ids)
    np.testing.assert_array_equal(found[0], found[1])


def test_buckets_are_few_and_large_enough():
    buckets = [bucket_tokens(tokens) for tokens in range(3000)]
    assert all(size >= tokens for tokens, size in enumerate(buckets))
    assert buckets == sorted(buckets)
    assert all(size <= 64 or 2 * size <= 3 * tokens for tokens, size in enumerate(buckets))
    assert sorted(set(buckets))[:6] == [64, 96, 128, 192, 256, 384]
