"""What is told of the feed of training is what it is."""

import logging
import re
import time

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data import feed
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.feed import Feed
from audiolm_jax.data.index import index_folder
from audiolm_jax.data.sources import AudioDataConfig


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("reading", "waiting", "words"),
    [
        (0.1, 0.3, "100 x real time (8 threads), steps take 25 x"),
        (0.5, 0.0, "20 x real time (8 threads), and steps wait for them"),
    ],
)
def test_both_rates(reading, waiting, words, monkeypatch, caplog):
    clock = Clock()
    monkeypatch.setattr(feed, "time", clock)
    caplog.set_level(logging.INFO)
    told = Feed("voices", 10.0, 8)
    for number in range(200):
        with told.reading():
            clock.now += reading
        # Compiling comes first, an evaluation between.
        clock.now += 50.0 if number in (4, 20) else waiting
    assert [record.getMessage() for record in caplog.records] == [caplog.messages[0]]
    assert f"voices: crops can be read at {words}" in caplog.messages[0]


def test_training_crops_tell_it_once(tmp_path, caplog):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(4):
        sound = (0.1 * rng.standard_normal(16000)).astype(np.float32)
        write_wav(tmp_path / "in" / f"{i}.wav", sound, 16000, None)
    index = index_folder(AudioDataConfig(str(tmp_path / "in"), dataset="noise", heldout_percent=0))
    caplog.set_level(logging.INFO)
    batches = AudioCrops(index, "train", 0.1, 2, 0).batches(0)
    for _ in range(feed.AHEAD + feed.COUNTED + 5):
        next(batches)
        time.sleep(0.003)
    batches.close()
    told = [text for text in caplog.messages if "real time" in text]
    assert len(told) == 1
    assert re.search(r"noise: crops can be read at [\d,]+ x real time", told[0])
