"""Stretches, draws from counts, voices and means, by hand."""

import dataclasses

import numpy as np
import pytest
from support.clip_lists import Recording, clip_index

from audiolm_jax.data.index import ClipIndex
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.ngram import NgramModel
from audiolm_jax.evaluation.measures.recognition import HeardWord, Recognizer
from audiolm_jax.evaluation.measures.speaker import Similarity, similarity
from audiolm_jax.evaluation.world import voices
from audiolm_jax.evaluation.world.judge import Errors, Said, errors_of
from audiolm_jax.evaluation.world.kept import Wanted, keep_sounds, keep_words, load_sound
from audiolm_jax.evaluation.world.language import read_world
from audiolm_jax.evaluation.world.results import (
    LEAST_ITEMS,
    Ending,
    Reading,
    summarize_bands,
    summarize_endings,
    summarize_readings,
)
from audiolm_jax.evaluation.world.selection import (
    choose_clips,
    choose_stretches,
)
from audiolm_jax.evaluation.world.units import UnitBigrams
from audiolm_jax.evaluation.world.utterances import beginnings, sentence_ends, whole
from audiolm_jax.evaluation.world.voices import Voices
from audiolm_jax.stages import BOS, FIRST_ID, Sequence, StageConfig

STAGE = StageConfig("semantic", semantic_clusters=4)


def walk(*clusters):
    return Sequence(np.array([BOS, *(c + FIRST_ID for c in clusters)], np.int32), 1)


def index_of(*seconds, text="words"):
    recordings = [
        Recording(f"{n}.wav", length, text, f"{n + 1:02x}") for n, length in enumerate(seconds)
    ]
    return clip_index(recordings)


def test_first_stretches_come_before_second_ones():
    index = index_of(25.0, 9.9, 10.0, 39.99)
    stretches = choose_stretches(index, 6, 10.0)
    numbers = [(stretch.clip.path, stretch.number) for stretch in stretches]
    assert sorted(numbers[:3]) == [("0.wav", 0), ("2.wav", 0), ("3.wav", 0)]
    assert sorted(numbers[3:5]) == [("0.wav", 1), ("3.wav", 1)]
    assert numbers[5] == ("3.wav", 2)
    assert (stretches[5].start, stretches[5].stop) == (320_000, 480_000)
    assert choose_stretches(index, 2, 10.0) == stretches[:2]
    with pytest.raises(InputError, match="--prompts 7: folder has 6 stretches of 10 s"):
        choose_stretches(index, 7, 10.0)
    with pytest.raises(InputError, match="--prompts 1: folder has 0 stretches"):
        choose_stretches(index, 1, 50.0)


def test_only_clips_with_words_are_read():
    assert len(choose_clips(index_of(1.0, 2.0), 2)) == 2
    assert choose_clips(index_of(1.0, text=" ?!"), 0) == []
    with pytest.raises(InputError, match="--revoiced 1: folder has 0 clips with transcripts"):
        choose_clips(index_of(1.0, text=" ?!"), 1)


def test_draws_follow_the_counts():
    model = NgramModel([walk(0, 1, 2, 0, 1, 3)] * 50 + [walk(0, 1, 2)] * 50, STAGE, 2)
    for context in range(4):
        distribution = model.distribution([context + FIRST_ID])
        assert distribution.sum() == pytest.approx(1.0)
        assert distribution.argmax() == FIRST_ID + [1, 2, 0, 3][context] or context == 3
    drawn = UnitBigrams(model, 1.0).draw(0, 20_000, [7])
    assert drawn.dtype == np.int32
    assert (np.diff(np.append([0], drawn)) != 0).all()
    after_one = drawn[1:][drawn[:-1] == 1]
    expected = model.distribution([1 + FIRST_ID])[FIRST_ID:]
    expected[1] = 0
    shares = np.bincount(after_one, minlength=4) / len(after_one)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)
    assert shares[2] > 1.5 * shares[3] > 0  # 100 against 50


def test_draws_by_seed_and_temperature():
    model = NgramModel([walk(0, 1, 2, 0, 1, 3), walk(0, 1, 2)], STAGE, 2)
    warm = UnitBigrams(model, 1.0)
    assert (warm.draw(0, 50, [1]) == warm.draw(0, 50, [1])).all()
    assert (warm.draw(0, 50, [1]) != warm.draw(0, 50, [2])).any()
    cold = UnitBigrams(model, 0.0).draw(0, 6, [1])
    assert cold.tolist() == [1, 2, 0, 1, 2, 0]
    cool = UnitBigrams(model, 0.05).draw(0, 6, [1])
    assert cool.tolist() == cold.tolist()


def test_units_that_are_not_de_duplicated_repeat_as_counted():
    stage = dataclasses.replace(STAGE, deduplicate=False)
    model = NgramModel([walk(0, 0, 0, 1, 1, 2, 3)] * 9, stage, 2)
    drawn = UnitBigrams(model, 1.0).draw(0, 20_000, [7])
    after_zero = drawn[1:][drawn[:-1] == 0]
    expected = model.distribution([FIRST_ID])[FIRST_ID:]
    shares = np.bincount(after_zero, minlength=4) / len(after_zero)
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)
    assert shares[0] > 0.5


def test_similarity_to_means():
    references = {
        "ann": np.array([[1.0, 0.0], [0.0, 1.0]]),
        "bob": np.array([[1.0, 0.0]]),
        "cid": np.array([[-1.0, 0.0]]),
    }
    found = similarity(np.array([2.0, 2.0]), "ann", references)
    assert found.own == pytest.approx(1.0)
    assert found.best_other == pytest.approx(0.5**0.5)
    assert (found.nearest, found.is_own_first) == ("ann", True)
    found = similarity(np.array([1.0, 0.0]), "ann", references)
    assert (found.nearest, found.is_own_first) == ("bob", False)
    assert not Similarity(0.5, 0.5, "ann").is_own_first


class Recordings(ClipIndex):
    """An index whose recordings are one number each."""

    def __init__(self, **speakers):
        clips = [
            dataclasses.replace(clip, speaker=speaker, sha256=f"{speaker}{n}")
            for speaker, count in speakers.items()
            for n, clip in enumerate(index_of(*[1.0] * count).clips)
        ]
        object.__setattr__(self, "config", index_of(1.0).config)
        object.__setattr__(self, "clips", clips)

    def load(self, clip):
        angle = {"ann": 0.0, "bob": 1.5, "cid": 3.0}[clip.speaker]
        return np.array([angle + 0.1 * int(clip.sha256[3:])])


def angle(samples):
    return np.array([np.cos(samples[0]), np.sin(samples[0])]) if samples.any() else None


def test_a_recording_does_not_vouch_for_its_own_end():
    index = Recordings(ann=3, bob=2, cid=1)
    known = Voices(angle, [index], 8)
    assert (known.speakers, known.recordings) == (2, 5)  # one recording of cid tells nothing
    clip = index.clips[1]
    stretch = choose_stretches(index_of(1.0), 1, 1.0)[0]
    stretch = dataclasses.replace(stretch, clip=clip)
    known.check([stretch])
    # ann0 is all zeros and is not heard; ann1 is the clip itself; ann2 is left, at 0.2.
    found = known.judge(np.array([0.3]), stretch)
    assert found.own == pytest.approx(np.cos(0.1))
    assert found.best_other == pytest.approx(np.cos(1.55 - 0.3))
    assert known.judge(np.zeros(1), stretch) is None
    with pytest.raises(InputError, match="its speaker, cid, has no two recordings"):
        known.check([dataclasses.replace(stretch, clip=index.clips[-1])])
    with pytest.raises(InputError, match="1 speakers of two recordings or more, expected two"):
        Voices(angle, [Recordings(ann=3, bob=1)], 8)
    assert Voices(angle, [Recordings(ann=3), Recordings(bob=2)], 2).recordings == 4
    assert voices.SECONDS == 10.0


def said(words, known, pairs=0, legal=0, sentences=0, whole=0):
    return Said(2.0, words, known, pairs, legal, sentences, whole)


def test_means_of_endings_are_ratios_of_sums_over_prompts():
    def ending(prompt, seed, what, similar):
        return Ending("a", f"{prompt}.wav", prompt, "ann", seed, "", what, similar)

    near, far = Similarity(0.9, 0.5, "ann"), Similarity(0.4, 0.8, "bob")
    endings = [
        ending("p", 0, said(4, 4, 3, 2, 1, 1), near),
        ending("p", 1, said(6, 3, 1, 0), far),
        ending("q", 0, said(0, 0), None),
    ]
    (row,) = summarize_endings(["a"], endings, True, 0)
    means = {name: mean and mean.mean for name, mean in row.means.items()}
    assert means == {
        "words_a_second": pytest.approx(10 / 6),
        "known": pytest.approx(70.0),
        "legal": pytest.approx(50.0),
        "whole": 100.0,
        "own_first": pytest.approx(100 / 3),  # silence is nobody's voice
        "own": pytest.approx(0.65),
        "other": pytest.approx(0.65),
    }
    assert row.means["known"].clips == 2  # prompts, not seeds
    (row,) = summarize_endings(["a"], [ending("q", 0, said(0, 0), None)], False, 0)
    assert row.means["known"] is row.means["own_first"] is row.means["own"] is None
    assert row.means["words_a_second"].mean == 0


def test_means_of_readings():
    readings = [
        Reading("a", "c", "ann", 0, "", "", said(8, 6, 4, 3), Errors(10, 1, 3), 9.0),
        Reading("a", "d", "ann", 0, "", "", said(2, 2), Errors(30, 3, 5), 9.0),
        Reading("b", "d", "ann", 0, "", "", said(2, 2), Errors(30, 60, 60), 9.0),
    ]
    first, second = summarize_readings(["a", "b"], readings, 0)
    assert first.means["wer"].mean == pytest.approx(10.0)
    assert first.means["spelled_wer"].mean == pytest.approx(20.0)
    assert first.means["known"].mean == pytest.approx(80.0)
    assert second.means["wer"].mean == pytest.approx(200.0)


def test_readings_by_length():
    def read(system, number, seconds, errors=1):
        counted = Errors(10, errors, errors, 50, 2 * errors)
        return Reading(system, f"{number}", "ann", 0, "", "", said(8, 6), counted, seconds)

    readings = [read("a", n, 4.0 + n / 2) for n in range(LEAST_ITEMS + 2)]  # the last two: 9.0, 9.5
    readings += [read("a", n, 10.0, 5) for n in range(LEAST_ITEMS - 3)]
    short, long, none = summarize_bands(["a"], readings, [(4.0, 9.0), (9.0, 10.5), (20.0, 30.0)], 0)
    assert (short.label, short.items, long.items, none.items) == ("4 to 9 s", 10, 9, 0)
    wer, cer = (short.record()["rows"][0]["means"][name] for name in ("wer", "cer"))
    assert (wer["mean"], cer["mean"], wer["clips"]) == (pytest.approx(10), pytest.approx(4), 10)
    few = {"too_few": 9, "expected": LEAST_ITEMS}
    assert long.record()["rows"][0]["means"]["wer"] == few
    assert none.record()["rows"][0]["means"]["cer"] == {"too_few": 0, "expected": LEAST_ITEMS}


def test_error_rates_are_those_of_jiwer(tmp_path):
    jiwer = pytest.importorskip("jiwer")
    for name, text in (("words", "leo\nate\npears\nfour\n"), ("bigrams", "leo ate\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    world = read_world(tmp_path, str)
    true = ["leo ate four pears", "pears ate leo", "leo ate"]
    heard = ["leo at for pears now", "pears leo", "oleo ate"]
    readings = [
        Reading("a", f"{n}", "ann", 0, "", "", said(1, 1), errors_of(world, t, h), 9.0)
        for n, (t, h) in enumerate(zip(true, heard, strict=True))
    ]
    ((row),) = summarize_readings(["a"], readings, 0)
    assert row.means["wer"].mean == pytest.approx(100 * jiwer.wer(true, heard))
    assert row.means["cer"].mean == pytest.approx(100 * jiwer.cer(true, heard))


def test_beginnings_end_between_sentences(tmp_path):
    (tmp_path / "words.txt").write_text("ate\nit\nleo\npears\nsaid\nyes\n")
    (tmp_path / "bigrams.txt").write_text("leo ate\n")
    world = read_world(tmp_path, str)
    text = '"Yes?" said Leo. Leo ate pears. Leo ate it. Leo said yes.'
    heard = [HeardWord(word, float(n), n + 0.9) for n, word in enumerate(text.split())]
    heard[8] = HeardWord("hit.", 8.0, 8.9)  # not what the transcript says: no cut there
    samples = np.full(13 * 16000, 0.1, np.float32)
    samples[45_000:48_000] = 0  # 2.81 to 3 s, between "Leo." and "Leo"
    ends = sentence_ends(text, samples, 16000, world, heard)
    assert [words for _, words in ends] == ['"Yes?" said Leo.', '"Yes?" said Leo. Leo ate pears.']
    assert 45_800 <= ends[0][0] <= 47_200
    assert 5.45 * 16000 <= ends[1][0] <= 6.45 * 16000
    clip = index_of(13.0).clips[0]
    clip = dataclasses.replace(clip, text=text)
    bands = [(1.0, 3.0), (3.0, 7.0), (7.0, 9.0), (10.0, 20.0)]
    found = beginnings(clip, samples, 16000, world, heard, bands)
    assert [(x.stop, x.text) for x in found] == ends  # none in 7 to 9 s; 10 to 20 s has it whole
    assert found[0].name.endswith(f"_to{ends[0][0]}")
    assert not found[0].is_whole
    assert whole(clip).is_whole


def test_sounds_are_made_once(tmp_path):
    calls = []

    def make(some):
        calls.append([item.seed for item in some])
        return [np.full(100, 0.01 * item.seed, np.float32) for item in some]

    def wanted(n, what="x"):
        provenance = {"synthetic": True, "what": what, "prompt_seconds": 0.0, "pair": (1, n)}
        return Wanted(tmp_path / f"{n}.wav", provenance, 0, n)

    keep_sounds([wanted(n) for n in range(10)], make, 16000)
    assert [len(call) for call in calls] == [8, 2]
    (tmp_path / "3.wav").unlink()
    keep_sounds([wanted(n) for n in range(12)], make, 16000)
    assert calls[2:] == [[3, 10, 11]]
    keep_sounds([wanted(5, "of another bundle")], make, 16000)
    assert calls[3:] == [[5]]
    np.testing.assert_allclose(load_sound(tmp_path / "5.wav"), 0.05, atol=1e-4)
    (tmp_path / "6.wav").write_bytes(b"a recording?")
    with pytest.raises(InputError, match="is there and was not generated"):
        keep_sounds([wanted(6)], make, 16000)


def test_words_are_heard_once(tmp_path):
    class Counting(Recognizer):
        fingerprint, calls = "f", 0

        def __init__(self):
            pass

        def words(self, samples):
            self.calls += 1
            return [HeardWord("Leo.", 0.0, float(len(samples)))]

    recognizer, path = Counting(), tmp_path / "a" / "b.json"
    samples = np.zeros(5, np.float32)
    for _ in range(2):
        assert keep_words(recognizer, path, samples) == [HeardWord("Leo.", 0.0, 5.0)]
    assert recognizer.calls == 1
    assert keep_words(recognizer, path, samples[:4]) == [HeardWord("Leo.", 0.0, 4.0)]
    path.write_text(path.read_text()[:-20])
    keep_words(recognizer, path, samples[:4])
    recognizer.fingerprint = "g"
    keep_words(recognizer, path, samples[:4])
    assert recognizer.calls == 4
