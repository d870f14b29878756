"""Listing a folder: good files used, bad ones named, the split a matter of content alone."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.audit import audit
from audiolm_jax.data.index import file_of, scan, split_of
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError


def noise(seconds, rate=16000, seed=0, level=0.1):
    samples = np.random.default_rng(seed).normal(0, level, int(seconds * rate))
    return samples.clip(-1, 1).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "audio"
    for number in range(12):
        speaker = root / f"speaker{number % 2}" / "book"
        speaker.mkdir(parents=True, exist_ok=True)
        write_wav(speaker / f"{number:02}.wav", noise(0.5 + number / 10, seed=number), 16000, None)
    return root


def listed(folder, **changes):
    return scan(AudioDataConfig(audio_dir=str(folder), **{"heldout_percent": 40, **changes}))


def test_clips_are_sorted_whole_and_repeatable(folder):
    index = listed(folder)
    assert [clip.clip_id for clip in index.clips] == sorted(clip.clip_id for clip in index.clips)
    assert len(index.clips) == 12
    assert {clip.speaker for clip in index.clips} == {"speaker0", "speaker1"}
    assert index == listed(folder)
    for clip in index.clips:
        assert index.load(clip).shape == (clip.num_samples,)
    assert index.seconds("train") + index.seconds("heldout") == pytest.approx(
        sum(0.5 + n / 10 for n in range(12))
    )


def test_renamed_moved_and_copied_files_keep_their_split(folder, tmp_path):
    before = {clip.sha256: clip.split for clip in listed(folder).clips}
    assert set(before.values()) == {"train", "heldout"}
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(sorted(folder.rglob("*.wav"), reverse=True)):
        shutil.copy(path, moved / f"x{number}.wav")
        shutil.copy(path, moved / f"y{number}.wav")
    index = listed(moved)
    assert len(index.clips) == 24
    assert all(before[clip.sha256] == clip.split for clip in index.clips)
    assert len(audit(index.config).duplicates) == 12


@given(st.binary(min_size=32, max_size=32), st.integers(0, 99), st.integers(0, 99))
def test_a_larger_heldout_share_only_adds(digest, small, large):
    small, large = sorted([small, large])
    if split_of(digest.hex(), small) == "heldout":
        assert split_of(digest.hex(), large) == "heldout"
    assert split_of(digest.hex(), 0) == "train"


def test_split_share_is_about_what_was_asked_for():
    import hashlib

    digests = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(5000)]
    share = np.mean([split_of(digest, 10) == "heldout" for digest in digests])
    assert share == pytest.approx(0.10, abs=0.02)


def test_bad_files_are_listed_and_the_rest_is_used(folder):
    data = (folder / "speaker0/book/00.wav").read_bytes()
    (folder / "text.wav").write_text("this is prose")
    (folder / "cut.wav").write_bytes(data[: len(data) // 2])
    (folder / "empty.wav").write_bytes(b"")
    write_wav(folder / "short.wav", noise(0.1), 16000, None)
    write_wav(folder / "silent.wav", np.zeros(16000, np.float32), 16000, None)
    write_wav(folder / "faint.wav", noise(1.0, level=2e-3), 16000, None)
    (folder / "notes.pdf").write_bytes(b"%PDF")
    index = listed(folder)
    reasons = {bad.path: bad.reason for bad in index.bad}
    assert reasons.keys() == {"text.wav", "cut.wav", "empty.wav", "short.wav", "silent.wav"}
    assert "text file" in reasons["text.wav"]
    assert "truncated" in reasons["cut.wav"]
    assert "empty" in reasons["empty.wav"]
    assert reasons["short.wav"] == "too short: 0.100 s, --data.min-seconds = 0.3"
    assert "silent" in reasons["silent.wav"]
    assert len(index.clips) == 13
    assert index.other_files == ((".pdf", 1),)
    report = str(audit(index.config))
    for path, reason in reasons.items():
        assert f"bad: {path}: {reason}" in report
    assert "13 good files, 5 bad" in report
    assert "1 x .pdf" in report
    assert index.fingerprint in report


def test_a_scan_logs_what_it_skips(folder, caplog):
    caplog.set_level("INFO")
    (folder / "text.wav").write_text("this is prose")
    index = listed(folder)
    skipped, summary = caplog.records
    assert skipped.levelname == "WARNING"
    assert skipped.message == f"skipped text.wav: {index.bad[0].reason}"
    assert summary.message.startswith(f"{folder}: 12 clips, ")
    assert summary.message.endswith(" min held out, 1 files skipped")


def test_hopeless_folders_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        listed(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no audio among 0 files"):
        listed(empty)
    (empty / "a.wav").write_text("prose")
    with pytest.raises(InputError, match=r"none of 1 audio files.*a\.wav: not audio"):
        listed(empty)
    report = audit(AudioDataConfig(audio_dir=str(empty)))
    assert not report.clips
    assert "bad: a.wav" in str(report)


def test_files_left_out_are_listed_by_pattern(folder):
    everything = listed(folder)
    name = everything.clips[0].path
    index = listed(folder, exclude=(name[:-3] + "*", "nothing/*"))
    assert [clip.path for clip in index.clips] == [
        clip.path for clip in everything.clips if clip.path[:-3] != name[:-3]
    ]
    assert f"bad: {name}: left out: --data.exclude has" in str(audit(index.config))
    assert index.fingerprint != everything.fingerprint


def test_missing_split_names_the_field(folder):
    with pytest.raises(InputError, match=r"no heldout clip among 12 .*heldout-percent = 0"):
        listed(folder, heldout_percent=0).of("heldout")


def test_long_files_become_consecutive_clips_of_one_split(tmp_path):
    samples = noise(10.3, rate=22050)
    write_wav(tmp_path / "a.wav", samples, 22050, None)
    (tmp_path / "transcripts.txt").write_text("a: too long for one text\n")
    config = {"max_seconds": 3.0, "sample_rate_hz": 22050}
    index = listed(tmp_path, **config)
    assert [clip.clip_id for clip in index.clips] == [f"a.wav#{n:04d}" for n in range(4)]
    assert len({clip.split for clip in index.clips}) == 1
    assert {clip.text for clip in index.clips} == {""}
    together = np.concatenate([index.load(clip) for clip in index.clips])
    np.testing.assert_allclose(together, samples, atol=1 / 65536 + 1e-6)
    assert all(clip.num_samples <= 3 * 22050 for clip in index.clips)


@given(st.text(min_size=1), st.sampled_from([".wav", ".FLAC", ".g722"]), st.integers(0, 20_000))
def test_a_clip_id_tells_its_file(stem, suffix, part):
    """Whatever a file is called, even like a part of another."""
    for path in (stem + suffix, f"{stem}#{part:04d}{suffix}", f"{stem}{suffix}#0001{suffix}"):
        assert file_of(path) == (path, 0)
        assert file_of(f"{path}#{part:04d}") == (path, part)


def test_transcripts_are_found_beside_the_audio(folder):
    (folder / "speaker0" / "transcripts.txt").write_text(
        "\ufeff; a comment\n\nbook/00: Hello: again.\nbook/02:two\nbook/99: nobody\n",
        encoding="utf-8",
    )
    texts = {clip.path: clip.text for clip in listed(folder).clips if clip.text}
    assert texts == {"speaker0/book/00.wav": "Hello: again.", "speaker0/book/02.wav": "two"}
    (folder / "transcripts.txt").write_text("no separator\n")
    with pytest.raises(InputError, match=r"transcripts\.txt:1: expected 'stem: text'"):
        listed(folder)


def test_fingerprint_follows_content_and_rules_but_not_the_place(folder, tmp_path):
    first = listed(folder).fingerprint
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    assert listed(copy).fingerprint == first
    assert listed(copy, heldout_percent=41).fingerprint != first
    write_wav(copy / "speaker0/book/00.wav", noise(0.5, seed=99), 16000, None)
    assert listed(copy).fingerprint != first


def test_linked_folders_are_followed_once(folder):
    (folder / "speaker0" / "loop").symlink_to(folder)
    (folder / "again").symlink_to(folder / "speaker1")
    assert len(listed(folder).clips) == 12
