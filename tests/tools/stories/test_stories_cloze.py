"""Spoken cloze of a corpus: cut where the pauses are, put together with the right beginnings."""

import csv

import numpy as np
import pytest
import soundfile

from tools.stories import cloze
from tools.stories.corpus import tell
from tools.stories.grammar import story
from tools.stories.speakers import FAST_SPEAKERS

RATE = 16_000


def held_out_stories():
    """Two of one plot with other endings, and one of another plot."""
    found = {}
    for number in range(4, 4000, 20):
        own = story(number)
        same = found.setdefault(own.plot, [])
        same.append(own)
        if len(same) == 2 and same[0].sentences[-1] != same[1].sentences[-1]:
            other = next(s[0] for plot, s in found.items() if plot != own.plot)
            return [*same, other]
    raise AssertionError


def say(text, speaker, bits):
    """A tone by the text: 0.8 s, with a silence too short for a pause."""
    pitch = 200 + sum(map(ord, text)) % 700
    sound = 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(0.8 * RATE)) / RATE + 0.1)
    sound[4000:6000] = 0
    return sound.astype(np.float32)


@pytest.fixture
def corpus(tmp_path):
    speaker = FAST_SPEAKERS[0]
    for own in held_out_stories():
        telling = cloze_telling(speaker, own.seed)
        path = tmp_path / "heldout_stories" / speaker.name / f"{own.seed:09d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.rint(tell(telling, say) * 32767).astype(np.int16)
        soundfile.write(path, samples, RATE, subtype="PCM_16")
    (tmp_path / "heldout_both").mkdir()
    return tmp_path


def cloze_telling(speaker, seed):
    from tools.stories.corpus import Telling

    return Telling(speaker, seed, "heldout_stories")


def test_stories_are_cut_at_their_pauses(corpus):
    for told in cloze.read_told(corpus):
        assert len(told.sounds) == len(told.story.sentences) == len(told.pauses) + 1
        for text, sound in zip(told.story.sentences, told.sounds, strict=True):
            whole = np.rint(say(text, None, 0) * 32767).astype(np.int16)
            np.testing.assert_array_equal(sound, whole)
        assert all(0.35 * RATE <= len(p) <= 0.65 * RATE + 1 and not p.any() for p in told.pauses)
    with pytest.raises(ValueError, match="0 pauses, expected 2"):
        cloze.cut(np.ones(RATE, np.int16), 3)


def test_items_have_one_beginning_and_fitting_endings(corpus, capsys):
    cloze.main([str(corpus), "--seconds", "6"])
    assert capsys.readouterr().out == "topic_cloze: 3 items\nstory_cloze: 2 items\n"
    folder = corpus / "cloze"
    with (folder / "pairs.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    endings = {told.story.sentences[-1]: told.story for told in cloze.read_told(corpus)}
    for row in rows:
        good, bad = (
            soundfile.read(folder / row[side], dtype="int16")[0] for side in ("good", "bad")
        )
        right, wrong = (endings[row[side]] for side in ("good_text", "bad_text"))
        assert (right.plot == wrong.plot) == (row["kind"] == "story_cloze")
        assert right.seed != wrong.seed
        size = round(0.8 * RATE)  # of an ending
        np.testing.assert_array_equal(good[:-size], bad[:-size])
        assert not np.array_equal(good[-size:], bad[-size:])
        assert 3 * RATE < len(good) <= 6 * RATE
        # What stands before the ending is the end of its own story.
        before = np.rint(say(right.sentences[-2], None, 0) * 32767).astype(np.int16)
        loud = np.flatnonzero(good[:-size])
        np.testing.assert_array_equal(good[: loud[-1] + 1][-size:], before[-size:])
        assert row["voice"] == "heard"
    before = (folder / "pairs.tsv").read_bytes()
    cloze.main([str(corpus), "--seconds", "6"])  # the same again
    assert (folder / "pairs.tsv").read_bytes() == before
