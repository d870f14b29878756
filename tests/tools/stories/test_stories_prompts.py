"""Prompts of the demo: of voices and stories that are held out, the same as in the corpus."""

import numpy as np
import pytest
import soundfile

from tools.lots import Lots
from tools.stories import prompts
from tools.stories.corpus import is_held_out, tell
from tools.stories.engines import Voices


def fake_say(self, text, speaker, seed):
    lots = Lots("fake", speaker.name, seed, text)
    return np.array([lots.uniform(-0.1, 0.1) for _ in text], np.float32)


def test_no_training_hears_their_voices_or_stories():
    chosen = prompts.held_out(3)
    assert len(chosen) == 6
    assert len({telling.seed for telling in chosen}) == 6
    assert {telling.speaker.sex for telling in chosen} == {"female", "male"}
    for telling in chosen:
        assert telling.speaker.held_out
        assert is_held_out(telling.seed)


def test_files_are_the_tellings_of_the_corpus_and_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Voices, "say", fake_say)
    prompts.main([str(tmp_path / "prompts"), "--each", "1"])
    files = sorted((tmp_path / "prompts").glob("*.flac"))
    tellings = prompts.held_out(1)
    assert [file.stem for file in files] == [prompts.name_of(telling) for telling in tellings]
    texts = (tmp_path / "prompts" / "transcripts.txt").read_text().splitlines()
    for file, telling, text in zip(files, tellings, texts, strict=True):
        samples = tell(telling, lambda *words: fake_say(None, *words))
        there, rate = soundfile.read(file, dtype="int16")
        assert rate == 16_000
        np.testing.assert_array_equal(there, np.rint(samples * 32767).astype(np.int16))
        assert text == f"{file.stem}: {' '.join(telling.pieces)}"
    files[0].write_bytes(b"kept")
    prompts.main([str(tmp_path / "prompts"), "--each", "1"])
    assert files[0].read_bytes() == b"kept"


def test_they_are_spoken_by_the_engine_that_the_lock_holds():
    (telling, _) = prompts.held_out(1)
    samples = Voices("", prompts.Path()).say("A cat.", telling.speaker, 0)
    assert 0.3 < len(samples) / 16_000 < 2
    assert float(np.sqrt(np.mean(samples**2))) == pytest.approx(0.06, rel=0.1)
