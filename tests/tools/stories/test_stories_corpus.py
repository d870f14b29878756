"""Who tells what: parts that share nothing they must not share, and files that survive a kill."""

import dataclasses
import hashlib
import re
import sys
import types
import wave
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm_jax.experiments.load import load_experiment
from tools.lots import Lots
from tools.stories import engines, make
from tools.stories.corpus import (
    CORPUS,
    Telling,
    is_held_out,
    plan_fast,
    plan_slow,
    tell,
    tellings_in,
    write_tellings,
)
from tools.stories.engines import LEVEL, PEAK, RATE_HZ, at_level, finish
from tools.stories.grammar import story
from tools.stories.options import parse
from tools.stories.speakers import FAST_SPEAKERS, SLOW_SPEAKERS, Speaker, Warp
from tools.stories.world import write_tables

PARTS = {"train", "heldout_stories", "heldout_speakers", "heldout_both"}


def fake_say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
    """A tone for each letter, hummed in the speaker's key."""
    lots = Lots("fake", speaker.name, seed, text)
    return np.array([lots.uniform(-0.1, 0.1) for _ in text], np.float32)


def digests(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def by_part(tellings: list[Telling]) -> dict[str, list[Telling]]:
    parts = defaultdict(list)
    for telling in tellings:
        parts[telling.part.removesuffix("_slow")].append(telling)
    return parts


@pytest.mark.parametrize("tellings", [plan_fast(24, 0), plan_slow(60, 0)], ids=["fast", "slow"])
def test_parts_are_disjoint_as_they_say(tellings):
    parts = by_part(tellings)
    assert set(parts) == PARTS
    assert len({telling.path for telling in tellings}) == len(tellings)
    speakers = {part: {t.speaker.name for t in told} for part, told in parts.items()}
    stories = {part: {t.seed for t in told} for part, told in parts.items()}
    assert speakers["train"] == speakers["heldout_stories"]
    assert speakers["heldout_speakers"] == speakers["heldout_both"]
    assert not speakers["train"] & speakers["heldout_speakers"]
    assert not stories["train"] & stories["heldout_stories"]
    assert not stories["train"] & stories["heldout_both"]
    assert stories["heldout_speakers"] <= stories["train"]
    held_out = len(parts["heldout_stories"])
    assert 0.04 < held_out / (held_out + len(parts["train"])) < 0.06
    assert abs(len(parts["heldout_speakers"]) - len(parts["heldout_both"])) <= 6


def test_the_texts_of_held_out_stories_are_not_trained_on():
    parts = by_part(plan_fast(3, 0) + plan_slow(5, 0))
    texts = {part: {story(t.seed).text for t in told} for part, told in parts.items()}
    assert not texts["train"] & (texts["heldout_stories"] | texts["heldout_both"])


def test_fast_and_slow_and_other_corpora_share_no_story():
    fast, slow, other = plan_fast(24, 0), plan_slow(5, 0), plan_fast(24, 1)
    seeds = [{telling.seed for telling in tellings} for tellings in (fast, slow, other)]
    assert not seeds[0] & seeds[1]
    assert not (seeds[0] | seeds[1]) & seeds[2]
    assert min(seeds[2]) >= CORPUS


def test_speakers_held_out():
    assert sum(speaker.engine == "hibari" for speaker in FAST_SPEAKERS) == 62
    assert len({speaker.name for speaker in FAST_SPEAKERS}) == len(FAST_SPEAKERS)
    held_out = [speaker for speaker in FAST_SPEAKERS if speaker.held_out]
    assert [speaker.engine for speaker in held_out] == ["hibari", "hibari", "flite"]
    assert len(SLOW_SPEAKERS) == 28
    assert sum(speaker.held_out for speaker in SLOW_SPEAKERS) == 6


def test_more_hours_only_add():
    few, many = plan_fast(2, 0), plan_fast(6, 0)
    assert {telling.path for telling in few} < {telling.path for telling in many}


def test_voices_stay_where_speech_is_clear():
    for timbre in (speaker.timbre for speaker in FAST_SPEAKERS if speaker.timbre):
        assert 0.79 <= timbre.formants <= 1.05
        assert 90 <= timbre.pitch_hz <= 210
        assert timbre.tilt_db <= 0
    heard = {s.timbre for s in FAST_SPEAKERS if s.timbre and not s.held_out}
    assert len(heard) == 60
    for unheard in (s.timbre for s in FAST_SPEAKERS if s.timbre and s.held_out):
        assert not any(timbre.is_near(unheard) for timbre in heard)


def test_warped_voices_are_others_than_those_they_are_made_of():
    warped = [speaker for speaker in FAST_SPEAKERS if speaker.warp]
    assert Counter(speaker.engine for speaker in warped) == {"pico": 8, "flite": 16}
    sources = {(s.engine, s.voice): s for s in FAST_SPEAKERS if not s.warp and not s.timbre}
    for speaker in warped:
        source = sources[speaker.engine, speaker.voice]
        assert not source.held_out
        assert speaker.name.startswith(f"{source.name}_")
        assert (speaker.accent, speaker.held_out) == (source.accent, False)
        assert 0.82 <= speaker.warp.frequencies <= 1.2
        assert abs(speaker.warp.frequencies - 1) >= 0.05
        assert 0.9 <= speaker.warp.tempo <= 1.1
    assert len({speaker.warp for speaker in warped}) == len(warped)


@pytest.mark.parametrize("engine", ["pico", "flite"])
def test_a_warp_changes_frequencies_and_pitch_and_keeps_the_tempo(monkeypatch, engine):
    # An engine that obeys: a sawtooth of 100 Hz, a second long, as far as nothing else is asked.
    asked = {}

    def pcm(slowness: float, pitch: float) -> bytes:
        asked.update(slowness=slowness, pitch=pitch)
        seconds = np.arange(round(RATE_HZ * slowness)) / RATE_HZ
        return (8_000 * (seconds * 100 * pitch % 1 - 0.5)).astype("<i2").tobytes()

    class Pico:
        def speak(self, text, voice, speed=1.0, pitch=1.0):
            return pcm(1 / speed, pitch)

    def flite(command, **_):
        options = dict(word.split("=") for word in command if "=" in word)
        made = pcm(float(options.get("duration_stretch", 1)), float(options.get("f0_shift", 1)))
        with wave.open(command[command.index("-o") + 1], "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(made)

    monkeypatch.setitem(sys.modules, "py_nanotts", types.SimpleNamespace(NanoTTS=Pico))
    monkeypatch.setattr(engines.subprocess, "run", flite)
    voice = engines.PicoEngine() if engine == "pico" else engines.FliteEngine("flite")
    plain = next(s for s in FAST_SPEAKERS if s.engine == engine and not s.warp)
    warped = dataclasses.replace(plain, warp=Warp(1.2, 0.9, 1.1))
    for speaker, seconds, pitch_hz in ((plain, 1.0, 100.0), (warped, 1 / 1.1, 90.0)):
        samples, rate_hz = voice.speak("a", speaker, 0)
        assert len(samples) / rate_hz == pytest.approx(seconds, rel=1e-3)
        rises = np.flatnonzero(np.diff(samples) < -0.1)
        assert rate_hz / np.mean(np.diff(rises)) == pytest.approx(pitch_hz, rel=0.01)
    assert asked == {"slowness": pytest.approx(1.2 / 1.1), "pitch": pytest.approx(0.9 / 1.2)}


def test_the_many_virtual_speakers_say_less_and_each_engine_keeps_its_part():
    seconds = defaultdict(float)
    for telling in plan_fast(24, 0):
        seconds[telling.speaker.name] += 1
    assert seconds["flite_slt_3"] == pytest.approx(seconds["hibari_40"], rel=0.25)
    named, little = seconds["hibari_01"], seconds["hibari_40"]
    assert 0.2 < little / named < 0.3
    of_engines = defaultdict(float)
    for name, stories in seconds.items():
        of_engines[name.split("_")[0]] += stories / sum(seconds.values())
    assert of_engines["pico"] > 0.1
    assert of_engines["flite"] > 0.15


def test_a_telling_is_its_sentences_in_order_with_pauses():
    telling = plan_fast(1, 0)[0]
    heard = []

    def say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
        heard.append(text)
        return np.ones(100, np.float32)

    samples = tell(telling, say)
    assert tuple(heard) == story(telling.seed).sentences
    silences = [len(zeros) for zeros in re.findall("0+", "".join("01"[int(s)] for s in samples))]
    assert all(0.35 <= silence / RATE_HZ <= 0.65 for silence in silences[1:-1])
    assert len(silences) == len(heard) + 1


def test_a_kill_in_the_middle_changes_no_byte(tmp_path):
    tellings = plan_fast(0.1, 0)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    write_tellings(whole, tellings, fake_say)
    write_tables(whole)
    calls = 0

    def dying_say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 60:
            raise KeyboardInterrupt
        return fake_say(text, speaker, seed)

    with pytest.raises(KeyboardInterrupt):
        write_tellings(halves, tellings, dying_say)
    some = digests(halves)
    assert 0 < len(some) < len(tellings)
    assert all(name.endswith(".flac") for name in some)  # no story half told
    again: list[str] = []

    def counting_say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
        again.append(text)
        return fake_say(text, speaker, seed)

    write_tellings(halves, reversed(tellings), counting_say)
    write_tables(halves)
    assert digests(halves) == digests(whole)
    assert len(again) < sum(len(story(telling.seed).sentences) for telling in tellings)


def test_tables_hold_every_file(tmp_path):
    tellings = plan_fast(0.1, 0)
    write_tellings(tmp_path, tellings, fake_say)
    rows = write_tables(tmp_path)
    assert {row.path for row in rows} == {telling.path for telling in tellings}
    assert [t.path for t in tellings_in(tmp_path)] == sorted(t.path for t in tellings)
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:2] == ["path", "speaker"]
    first = rows[0]
    path = tmp_path / first.path
    assert float(first.seconds) == pytest.approx(soundfile.info(path).duration, abs=1e-3)
    texts = (path.parent / "transcripts.txt").read_text().splitlines()
    assert f"{path.stem}: {story(first.story).text}" in texts
    assert is_held_out(first.story) == (first.split in ("heldout_stories", "heldout_both"))


def test_another_seed_or_grammar_does_not_mix_into_a_corpus(tmp_path):
    make._claim(tmp_path, 0)
    scratch = tmp_path / "train" / "pico_us" / ".0123456789ab.000000000.flac"
    scratch.parent.mkdir(parents=True)
    scratch.touch()
    make._claim(tmp_path, 0)
    assert not scratch.exists()  # left by a kill
    with pytest.raises(SystemExit, match="another seed"):
        make._claim(tmp_path, 1)
    (tmp_path / "corpus.json").write_text('{"seed": 0, "grammar": "other"}')
    with pytest.raises(SystemExit, match="another grammar"):
        make._claim(tmp_path, 0)


@pytest.mark.parametrize(
    "words", [["--hours", "0"], ["--no-slow", "--slow-minutes", "3"], ["--slow-voices", "x"]]
)
def test_wrong_options_are_refused(words):
    with pytest.raises(SystemExit):
        parse(words)


def test_speech_is_trimmed_and_at_one_level():
    time = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 200 * time).astype(np.float32)
    silence = np.zeros(RATE_HZ, np.float32)
    said = finish(np.concatenate([silence, 0.01 * tone, silence]), RATE_HZ)
    assert 1.0 < len(said) / RATE_HZ < 1.2
    assert np.sqrt(np.mean(said**2)) == pytest.approx(LEVEL, rel=0.02)
    click = np.zeros(RATE_HZ, np.float32)
    click[100] = 1
    assert np.abs(at_level(click)).max() == pytest.approx(PEAK)
    with pytest.raises(ValueError, match="nothing"):
        finish(silence, RATE_HZ)


def test_the_classifier_of_speakers_knows_all_fast_voices():
    config = Path(__file__).parents[3] / "configs" / "stories" / "speakers.py"
    assert set(load_experiment(config).model.classes) == {s.name for s in FAST_SPEAKERS}
