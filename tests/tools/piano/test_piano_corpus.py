"""Which piece is in which part, and that files survive a kill; sounds are made up here."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tools.lots import Lots
from tools.piano import corpus, make
from tools.piano.collections import COLLECTIONS, is_heldout, opening
from tools.piano.corpus import Take, prepared, takes_of, write_take
from tools.piano.options import parse
from tools.piano.score import Bar, Note, Score
from tools.piano.sound import Room, at_level, in_room

RATE_HZ = 16_000
BY_NAME = {collection.name: collection for collection in COLLECTIONS}


def a_score(shift: int = 0, seed: int = 0) -> Score:
    lots = Lots("a score", seed)
    notes = tuple(Note(float(p), 1.0, 60 + shift + lots.below(12), 0) for p in range(16))
    return Score("", "", "C major", notes, tuple(Bar(4.0 * n, 1.0) for n in range(4)))


def test_shares_are_a_whole():
    assert sum(collection.share for collection in COLLECTIONS) == pytest.approx(1)


def test_settings_of_a_tune_stay_together_in_any_key():
    chorales = BY_NAME["chorales"]
    melodies = [[Lots(n).below(12) * 2 + 50 for n in range(k, k + 12)] for k in range(200)]
    heldout = [is_heldout(chorales, "x", melody) for melody in melodies]
    assert 5 <= sum(heldout) <= 40
    for melody, is_out in zip(melodies, heldout, strict=True):
        assert is_heldout(chorales, "y", [pitch + 5 for pitch in melody]) == is_out
        repeated = [pitch for pitch in melody for _ in range(2)]
        assert opening(repeated) == opening(melody)


def test_held_out_pieces_are_played_as_written_and_once():
    found = {"train": 0, "heldout": 0}
    for seed in range(40):
        score = a_score(seed=seed)
        first = prepared(Take("tunes", f"x/{seed}.abc", 0), score, 0)
        later = prepared(Take("tunes", f"x/{seed}.abc", 1), score, 0)
        assert first is not None
        assert first.semitones == 0
        found[first.part] += 1
        if first.part == "heldout":
            assert later is None
        else:
            assert later is not None
            assert later.part == "train"
            assert later.semitones != 0
            assert later.path != first.path
    assert min(found.values()) > 0


def test_takes_repeat_all_pieces_before_any_is_played_again(tmp_path):
    for name in "abc":
        (tmp_path / "ryansMammoth").mkdir(exist_ok=True)
        (tmp_path / "ryansMammoth" / f"{name}.abc").touch()
    takes = takes_of(BY_NAME["tunes"], tmp_path, 0)
    some = [next(takes) for _ in range(6)]
    assert [take.number for take in some] == [0, 0, 0, 1, 1, 1]
    assert len({take.score for take in some[:3]}) == 3
    assert len({take.stem for take in some}) == 6


def test_a_kill_leaves_no_half_recording_and_the_same_bytes_come_again(tmp_path, monkeypatch):
    take = prepared(Take("tunes", "x/a.abc", 0), a_score(), 0)
    assert take is not None
    tone = np.sin(np.arange(RATE_HZ) / 10).astype(np.float32) / 2

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "play", lambda *_: tone)
    where = (Path("soundfonts"), "fluidsynth", RATE_HZ)
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "write_flac", dies)
        with pytest.raises(KeyboardInterrupt):
            write_take(tmp_path, take, *where)
    assert not list(tmp_path.rglob("*.flac"))
    write_take(tmp_path, take, *where)
    path = tmp_path / take.path
    first = path.read_bytes(), path.with_suffix(".mid").read_bytes()
    assert soundfile.info(path).samplerate == RATE_HZ
    path.unlink()
    write_take(tmp_path, take, *where)
    assert (path.read_bytes(), path.with_suffix(".mid").read_bytes()) == first
    row = take.row(tmp_path)
    assert (row.path, row.split, row.seconds) == (take.path, take.part, "1.000")


def test_a_room_is_its_seed_and_keeps_the_level():
    click = np.zeros(4000, np.float32)
    click[100] = 1
    room = Room(decay_seconds=0.3, wet_db=-12, tilt_db=0, level_db=-25)
    one, same, other = (in_room(click, room, seed, RATE_HZ) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(one) == 4000 + 4800
    assert np.abs(one[:99]).max() < 1e-4
    wet = np.sum(one[110:].astype(np.float64) ** 2) / float(one[100]) ** 2
    assert 10 * np.log10(wet) == pytest.approx(-12, abs=1)
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    level = np.sqrt(np.mean(at_level(noise, -25.0) ** 2))
    assert 20 * np.log10(level) == pytest.approx(-25, abs=0.1)


def test_another_seed_or_rate_does_not_mix_into_a_corpus(tmp_path):
    make._claim(tmp_path, 0, RATE_HZ)
    make._claim(tmp_path, 0, RATE_HZ)
    with pytest.raises(SystemExit, match="another seed"):
        make._claim(tmp_path, 1, RATE_HZ)
    with pytest.raises(SystemExit, match="another sample_rate_hz"):
        make._claim(tmp_path, 0, 24_000)


@pytest.mark.parametrize("words", [["--hours", "0"], ["--sample-rate-hz", "8000"], ["--seed", "x"]])
def test_wrong_options_are_refused(words):
    with pytest.raises(SystemExit):
        parse(words)
