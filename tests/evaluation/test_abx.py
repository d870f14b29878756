"""ABX: frames of an item, what is compared, how it is averaged."""

import dataclasses
import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from test_dtw import plain_dtw

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.cells import comparisons, group_items
from audiolm_jax.evaluation.abx.config import AbxConfig
from audiolm_jax.evaluation.abx.items import Item
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.abx.segments import (
    FrameFeatures,
    code_distances,
    cut_segments,
    frame_range,
    unit_vectors,
)

ALL = AbxConfig(max_size_group=None, max_x_across=None)
RATE = Fraction(50)


def corpus(seed, speakers=3, files=6, width=5):
    """Items of two contexts in files of random features; three frames to seven each."""
    rng = np.random.default_rng(seed)
    items, by_file = [], {}
    for speaker, number in itertools.product(range(speakers), range(files)):
        file, begin = f"s{speaker}/{number}", Decimal(0)
        for _ in range(4):
            length = Decimal(int(rng.integers(70, 150))) / 1000
            previous, following = [("b", "d"), ("g", "k")][rng.integers(2)]
            phone = "aeiou"[rng.integers(3)]
            items.append(
                Item(file, begin, begin + length, phone, previous, following, f"s{speaker}")
            )
            begin += length
        by_file[file] = rng.normal(size=(int(begin * 50) + 1, width)).astype(np.float32)
    return items, by_file


def plain_abx(items, by_file, distance, is_legacy, rate=50):
    """(within, across) by loops over all triplets, frames cut and averages taken as Libri-Light."""
    cut = []
    for item in items:
        first = -(-(Fraction(item.onset) * rate * 2 - 1) // 2)
        last = (Fraction(item.offset) * rate * 2 - 1) // 2
        cut.append(by_file[item.file][int(first) : int(last) + (not is_legacy)])
    kept = [i for i, frames in enumerate(cut) if len(frames)]

    def d(x, y):
        return plain_dtw(np.array([[distance(u, v) for v in cut[y]] for u in cut[x]], np.float32))

    def context(i):
        return items[i].previous, items[i].following

    pairs = [(x, y) for x in kept for y in kept if x != y and context(x) == context(y)]
    distances = {pair: d(*pair) for pair in pairs}
    found = {"within": {}, "across": {}}
    for a, b, x in itertools.product(kept, repeat=3):
        one, two, three = items[a], items[b], items[x]
        if x == a or one.phone == two.phone or one.phone != three.phone:
            continue
        if one.speaker != two.speaker or len({context(i) for i in (a, b, x)}) > 1:
            continue
        mode = "within" if one.speaker == three.speaker else "across"
        pair, cell = (one.phone, two.phone), (*context(a), three.speaker)
        error = float(distances[x, b] < distances[x, a]) + 0.5 * (
            distances[x, b] == distances[x, a]
        )
        cells = found[mode].setdefault(pair, {}).setdefault(one.speaker, {})
        cells.setdefault(cell, []).append(error)

    def mean(values):
        return np.mean([np.mean(value) for value in values])

    return [
        np.mean([mean([[mean(c.values())] for c in s.values()]) for s in found[mode].values()])
        for mode in ("within", "across")
    ]


def angle(u, v):
    cosine = np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    return np.arccos(np.clip(cosine, -1, 1)) / np.pi


def errors(score):
    return [score.within.error, score.across.error]


@pytest.mark.parametrize(
    ("onset", "offset", "rate", "corrected", "legacy"),
    [
        ("0.2925", "0.4725", 50, (15, 24), (15, 23)),  # times 0.31 ... 0.47 of 20 ms frames
        ("0.2925", "0.4725", 25, (7, 12), (7, 11)),
        ("0.0000", "0.0100", 50, (0, 1), (0, 0)),  # a frame's time at the very end belongs to it
        ("0.0300", "0.0500", 50, (1, 3), (1, 2)),  # and at the very beginning
        ("0.0310", "0.0490", 50, (2, 2), (2, 1)),  # none: empty either way
        ("1.6900", "1.7300", 50, (84, 87), (84, 86)),  # 1.69 * 50 - 0.5 in binary is above 84
    ],
)
def test_frames_of_an_item(onset, offset, rate, corrected, legacy):
    times = Decimal(onset), Decimal(offset), Fraction(rate)
    assert frame_range(*times, "corrected") == corrected
    assert frame_range(*times, "legacy") == legacy
    inside = [
        i for i in range(200) if times[0] <= Decimal(2 * i + 1) / Decimal(2 * rate) <= times[1]
    ]
    assert inside == list(range(*corrected))


def test_items_without_frames_and_beyond_the_end():
    items = [
        Item("f", Decimal("0.031"), Decimal("0.049"), "a", "b", "c", "s"),
        Item("f", Decimal("0.04"), Decimal("0.19"), "a", "b", "c", "s"),
    ]
    frames = np.ones((10, 2), np.float32)
    found = cut_segments(items, FrameFeatures({"f": frames}, RATE), "corrected")
    assert (found.empty, found.cut, list(found.lengths)) == (1, 0, [8])
    found = cut_segments(items, FrameFeatures({"f": frames[:9]}, RATE), "corrected")
    assert (found.empty, found.cut, list(found.lengths)) == (1, 1, [7])
    with pytest.raises(
        InputError, match=r"f: an item ends at 0\.19 s, frame 10 at 50 Hz, but there"
    ):
        cut_segments(items, FrameFeatures({"f": frames[:8]}, RATE), "corrected")
    with pytest.raises(InputError, match="1 of 1 files have items but no features, such as 'f'"):
        cut_segments(items, FrameFeatures({}, RATE), "corrected")


@pytest.mark.parametrize("slicing", ["corrected", "legacy"])
def test_vectors_equal_loops(slicing):
    items, by_file = corpus(0, files=4)
    score = abx_score(items, FrameFeatures(by_file, RATE), slicing, ALL)
    expected = plain_abx(items, by_file, angle, slicing == "legacy")
    np.testing.assert_allclose(errors(score), expected, atol=1e-9)
    assert score.items == len(items)
    assert min(score.within.cells, score.across.cells) >= 10


@pytest.mark.parametrize("has_codebook", [False, True])
def test_codes_equal_loops(has_codebook):
    items, by_file = corpus(1, files=4)
    # Not all phones of all speakers, so that it matters what is averaged first.
    items = [item for item in items if (item.speaker, item.phone) not in (("s0", "a"), ("s1", "e"))]
    codes = {file: (frames[:, 0] > 0) + 2 * (frames[:, 1] > 0) for file, frames in by_file.items()}
    codebook = np.random.default_rng(2).normal(size=(4, 3)) if has_codebook else None
    score = abx_score(items, FrameFeatures(codes, RATE, 4, codebook), "corrected", ALL)
    table = code_distances(4, codebook)  # these very numbers: their rounding decides near ties
    expected = plain_abx(items, codes, lambda u, v: table[u, v], False)
    np.testing.assert_allclose(errors(score), expected, atol=1e-9)


def test_perfect_features_and_chance():
    items, by_file = corpus(3, files=8)
    for item in items:  # every frame tells its phone; frames on a border belong to the later item
        first, end = frame_range(item.onset, item.offset, RATE, "corrected")
        by_file[item.file][first:end] = np.eye(5)["aeiou".index(item.phone)]
    legacy = abx_score(items, FrameFeatures(by_file, RATE), "legacy", ALL)
    assert errors(legacy) == [0, 0]
    same = {file: np.ones_like(frames) for file, frames in by_file.items()}
    assert errors(abx_score(items, FrameFeatures(same, RATE), "legacy", ALL)) == [0.5, 0.5]
    rates = []
    for seed in range(4):
        items, by_file = corpus(seed, speakers=4, files=10)
        rates.append(errors(abx_score(items, FrameFeatures(by_file, RATE), "corrected", ALL)))
    np.testing.assert_allclose(np.mean(rates, axis=0), 0.5, atol=0.02)


def test_order_scale_and_repetition_do_not_matter():
    items, by_file = corpus(4)
    config = AbxConfig(max_size_group=2, max_x_across=1, seed=3)
    first = abx_score(items, FrameFeatures(by_file, RATE), "corrected", config)
    shuffled = [items[i] for i in np.random.default_rng(0).permutation(len(items))]
    scaled = {file: 3 * by_file[file] for file in reversed(by_file)}
    assert abx_score(shuffled, FrameFeatures(scaled, RATE), "corrected", config) == first
    other = dataclasses.replace(config, seed=4)
    assert abx_score(items, FrameFeatures(by_file, RATE), "corrected", other) != first


def test_contexts_may_be_worked_on_a_few_at_a_time(monkeypatch):
    items, by_file = corpus(5)
    features = FrameFeatures(by_file, RATE)
    whole = abx_score(items, features, "corrected", ALL)
    monkeypatch.setattr("audiolm_jax.evaluation.abx.score._TABLE", 1)
    assert abx_score(items, features, "corrected", ALL) == whole


def test_subsampling():
    items, _ = corpus(6, speakers=5, files=10)
    config = AbxConfig(max_size_group=2, max_x_across=2)
    everything, drawn = group_items(items, ALL), group_items(items, config)
    for context, groups in everything.items():
        for whole, part in zip(groups, drawn[context], strict=True):
            assert len(part.members) == min(2, len(whole.members))
            assert set(part.members) <= set(whole.members)
        found = list(comparisons(context, drawn[context], config))
        assert {one.mode for one in found} == {"within", "across"}
        for one in found:
            assert {b.speaker for b in one.b} == {one.a.speaker}
            assert one.a.phone == one.x.phone
            assert one.a.phone not in {b.phone for b in one.b}
            assert (one.x is one.a) == (one.mode == "within")
        across = [one for one in found if one.mode == "across"]
        for a in {(one.a.phone, one.a.speaker) for one in across}:
            assert sum((one.a.phone, one.a.speaker) == a for one in across) == 2
    with pytest.raises(InputError, match=r"--abx\.max-size-group 1: expected 2 or more"):
        AbxConfig(max_size_group=1)


def test_nothing_to_compare():
    items, by_file = corpus(7, speakers=1)
    score = abx_score(items, FrameFeatures(by_file, RATE), "corrected", ALL)
    assert score.within.error is not None
    assert (score.across.error, score.across.cells) == (None, 0)


def test_null_vectors_are_far_from_all_others():
    vectors = unit_vectors(np.array([[3.0, 4.0], [0, 0], [0, 0], [1, 0]]))
    cosines = np.clip(vectors @ vectors.T, -1, 1)
    np.testing.assert_allclose(cosines[1], [-1, 1, 1, -1])
    np.testing.assert_allclose(cosines[0, 3], 0.6, rtol=1e-6)


def test_distances_of_codes():
    book = np.array([[1.0, 0], [0, 2], [-3, 0], [1e-3, 0]])
    found = code_distances(4, book)
    np.testing.assert_allclose(found[0], [0, 0.5, 1, 0], atol=1e-7)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(code_distances(3, None), 0.5 * (1 - np.eye(3)))


@pytest.mark.parametrize(
    ("frames", "codes", "message"),
    [
        (np.zeros(3), None, r"f: features of shape \(3,\): expected \[frames, width\]"),
        (np.full((3, 2), np.nan), None, "f: features hold NaN"),
        (np.array([0, 4]), 4, r"f: codes span \[0, 4\]: expected 0 to 3"),
    ],
)
def test_bad_features(frames, codes, message):
    with pytest.raises(InputError, match=message):
        FrameFeatures({"f": frames}, RATE, codes)
