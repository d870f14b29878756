"""Listing a folder: good files used, bad ones named, the split a matter of content alone."""

import dataclasses
import hashlib
import os
import shutil
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.audio.files import write_wav
from audiolm_jax.data import file_facts
from audiolm_jax.data.audit import audit
from audiolm_jax.data.index import HeldoutSpeakers, file_of, scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.split import places_of
from audiolm_jax.data.walk import BadFile
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
    return scan(AudioDataConfig(source=str(folder), **{"heldout_percent": 40, **changes}))


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


def place(digest, **rules):
    numbers = np.array([int(digest[:16], 16)], np.uint64)
    return float(places_of(numbers, None, AudioDataConfig("audio", **rules))[0])


@given(st.binary(min_size=32, max_size=32))
def test_whole_percents_hold_out_what_they_always_did(digest):
    """And a larger share, whole or not, only adds."""
    found = place(digest.hex())
    assert 0 <= found < 100
    for percent in range(100):
        assert (found < percent) == (int(digest.hex()[:16], 16) % 100 < percent)


@pytest.mark.parametrize("percent", [0.1, 0.5, 10, 33.3])
def test_split_share_is_about_what_was_asked_for(percent):
    digests = [hashlib.sha256(n.to_bytes(2, "big")).hexdigest() for n in range(20_000)]
    numbers = np.array([int(digest[:16], 16) for digest in digests], np.uint64)
    found = (places_of(numbers, None, AudioDataConfig("audio")) < percent).sum()
    assert found == pytest.approx(percent * 200, abs=4 * (percent * 200) ** 0.5)


def heldout_of(index):
    return {clip.path for clip in index.clips if clip.split == "heldout"}


def test_minutes_are_held_out_in_the_order_of_the_hashes(folder):
    everything = listed(folder)
    order = sorted(everything.clips, key=lambda c: place(c.sha256))
    ends = np.cumsum([clip.num_samples / 16000 for clip in order])
    for count in (1, 3, 11):
        for seconds in (ends[count - 1], ends[count - 1] - 0.4):
            index = listed(folder, heldout_minutes=seconds / 60)
            assert heldout_of(index) == {clip.path for clip in order[:count]}
            assert place(order[count - 1].sha256) < index.heldout_below
            assert index.heldout_below == place(order[count].sha256)
    before = heldout_of(listed(folder, heldout_minutes=3.0 / 60))
    write_wav(folder / "speaker0/book/new.wav", noise(0.7, seed=77), 16000, None)
    after = listed(folder, heldout_minutes=3.0 / 60)
    moved = before - heldout_of(after)  # none but the last
    assert len(moved) <= 1
    assert all(place(c.sha256) >= after.heldout_below for c in after.clips if c.path in moved)
    with pytest.raises(InputError, match=r"no train clip among 13 with --data.heldout-minutes = 9"):
        listed(folder, heldout_minutes=9.0).of("train")


def test_speakers_and_books_are_held_out_whole(tmp_path):
    for number in range(40):
        book = tmp_path / f"s{number % 5}" / f"b{number % 10}"
        book.mkdir(parents=True, exist_ok=True)
        write_wav(book / f"{number}.wav", noise(0.4, seed=number), 16000, None)
    for depth, split_by in ((1, "speaker"), (1, 1), (2, 2)):
        index = listed(tmp_path, heldout_percent=50, split_by=split_by)
        sides = {}
        for clip in index.clips:
            sides.setdefault(tuple(clip.path.split("/")[:depth]), set()).add(clip.split)
        assert all(len(side) == 1 for side in sides.values())
        assert set().union(*sides.values()) == {"train", "heldout"}
    first = listed(tmp_path, heldout_percent=50, split_by="speaker")
    write_wav(tmp_path / "s0/b0/new.wav", noise(0.4, seed=99), 16000, None)
    more = listed(tmp_path, heldout_percent=50, split_by="speaker")
    assert heldout_of(first) == heldout_of(more) - {"s0/b0/new.wav"}
    timed = listed(tmp_path, heldout_minutes=0.02, split_by="speaker")
    assert len({clip.speaker for clip in timed.of("heldout")}) == 1
    assert not {c.speaker for c in timed.of("heldout")} & {c.speaker for c in timed.of("train")}
    write_wav(tmp_path / "s0/lost.wav", noise(0.4, seed=98), 16000, None)
    with pytest.raises(InputError, match=r"--data.split-by = 2: .*/s0/lost.wav lies in 1 folders"):
        listed(tmp_path, split_by=2)


def test_speakers_who_are_known_from_training_are_counted(folder):
    index = listed(folder)
    assert index.heldout_speakers() == HeldoutSpeakers(2, 2, 0)
    assert str(index.heldout_speakers()).startswith("2 of 2 held-out speakers are")
    one = [clip for clip in index.of("heldout") if clip.speaker == "speaker1"]
    assert index.heldout_speakers(one) == HeldoutSpeakers(1, 1, 0)
    apart = listed(folder, split_by="speaker", heldout_percent=0.0, heldout_minutes=0.01)
    assert apart.heldout_speakers() == HeldoutSpeakers(1, 0, 0)
    (folder / "speaker0/book/00.wav").rename(folder / "a.wav")
    lost = [clip for clip in listed(folder, heldout_percent=99).of("heldout") if not clip.speaker]
    assert index.heldout_speakers(lost) == HeldoutSpeakers(0, 0, 1)
    assert "Who speaks in 1 held-out clips is unknown." in str(index.heldout_speakers(lost))


def test_fingerprints_of_data_without_the_newer_rules_are_those_of_before(folder):
    index = listed(folder)
    rules = dataclasses.asdict(index.config)
    for name in ("source", "index", "heldout_minutes", "split_by"):
        del rules[name]
    clips = [(clip.clip_id, clip.sha256, clip.num_samples) for clip in index.clips]
    assert index.fingerprint == fingerprint([rules, clips])
    for unit in ("speaker", 1, 2):  # by folders, as they always were
        by_folder = listed(folder, split_by=unit)
        assert by_folder.fingerprint == fingerprint([rules | {"split_by": unit}, clips])
        for clip in by_folder.clips:
            name = "/".join(clip.path.split("/")[: 2 if unit == 2 else 1])
            number = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16)
            assert (clip.split == "heldout") == (number % 100 < 40)
    assert listed(folder, split_by="speaker").fingerprint != index.fingerprint
    assert listed(folder, heldout_minutes=0.1).fingerprint != index.fingerprint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heldout_percent", 99.5),
        ("heldout_percent", -0.1),
        ("heldout_minutes", 0.0),
        ("split_by", 0),
    ],
)
def test_rules_that_make_no_sense(field, value):
    with pytest.raises(InputError, match=f"--data.{field.replace('_', '-')} = {value}: expected"):
        AudioDataConfig("audio", **{field: value})


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
        assert f"  {path}: {reason}" in report
    assert "13 good files, 5 bad" in report
    assert "1 x .pdf" in report
    assert index.fingerprint in report


def test_a_scan_logs_what_it_skips(folder, caplog):
    caplog.set_level("INFO")
    for name in ("text.wav", "more.wav"):
        (folder / name).write_text("this is prose")
    write_wav(folder / "short.wav", noise(0.1), 16000, None)
    (folder / "transcripts.txt").write_text("no separator\nnowhere: text\n")
    listed(folder)
    skipped, summary, speakers = caplog.records
    assert speakers.message == "2 of 2 held-out speakers are known from training."
    assert skipped.levelname == "WARNING"
    files = "3 files skipped (2 not audio, 1 too short)"
    lines = "1 lines of transcripts and metadata not understood"
    assert skipped.message == f"{folder}: {files}, {lines}; audiolm audit names them"
    assert summary.message.startswith(f"{folder}: 12 clips, ")
    assert summary.message.endswith(" min held out")


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
    report = audit(AudioDataConfig(source=str(empty)))
    assert not report.index.clips
    assert "bad: 1 x not audio\n  a.wav: not audio" in str(report)


def test_files_left_out_are_listed_by_pattern(folder):
    everything = listed(folder)
    name = everything.clips[0].path
    index = listed(folder, exclude=(name[:-3] + "*", "nothing/*"))
    assert [clip.path for clip in index.clips] == [
        clip.path for clip in everything.clips if clip.path[:-3] != name[:-3]
    ]
    assert f"bad: 1 x left out\n  {name}: left out: --data.exclude has" in str(audit(index.config))
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
    index = listed(folder)
    assert {clip.path: clip.text for clip in index.clips if clip.text} == texts
    line = "transcripts.txt: 1 lines not understood, such as 1: 'no separator'"
    assert f"transcripts and metadata: {line}" in str(audit(index.config))


def test_an_audit_sums_the_bad_files_up_by_reason(folder):
    for number in range(5):
        write_wav(folder / f"short{number}.wav", noise(0.1 + number / 100), 16000, None)
    (folder / "text.wav").write_text("prose")
    config = AudioDataConfig(str(folder))
    lines = str(audit(config)).splitlines()
    reason = "too short: 0.{} s, --data.min-seconds = 0.3"
    start = lines.index("bad: 5 x too short")
    named = [f"  short{n}.wav: {reason.format(100 + 10 * n)}" for n in range(3)]
    assert lines[start + 1 : start + 5] == [*named, "  and 2 more; --list names all"]
    assert lines[start + 5 :] == [
        "bad: 1 x not audio",
        "  text.wav: not audio: it is a text file named .wav; remove it or put the audio there",
    ]
    full = str(audit(config, lists_all=True)).splitlines()
    assert [line for line in full if line.startswith("bad: ")] == [
        *(f"bad: short{n}.wav: {reason.format(100 + 10 * n)}" for n in range(5)),
        "bad: text.wav: not audio: it is a text file named .wav; remove it or put the audio there",
    ]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("too short: 0.100 s, --data.min-seconds = 0.3", "too short"),
        ("empty file (0 bytes)", "empty file"),
        ("sample rate changes to 44100 Hz", "sample rate changes to"),
        ("not .wav audio: Invalid data", "not .wav audio"),
        ("contains NaN or infinite samples", "contains NaN or infinite samples"),
    ],
)
def test_reasons_are_alike_whatever_the_numbers(reason, kind):
    assert BadFile("a.wav", reason).kind == kind


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


def test_names_in_any_bytes(folder, capsys):
    """Not UTF-8, with newlines, very long: they are used like others, and shown in one line."""
    odd = [b"caf\xe9/n\xff.wav", b"caf\xe9/two\nlines.wav", b"\\xe9.wav", b"l" * 251 + b".wav"]
    before = {clip.sha256: clip for clip in listed(folder).clips}
    (folder / os.fsdecode(b"caf\xe9")).mkdir()
    for raw, clip in zip(odd, list(before.values())[:4], strict=True):
        (folder / clip.path).rename(folder / os.fsdecode(raw))
    (folder / os.fsdecode(b"caf\xe9/bad\n.wav")).write_bytes(b"")
    (folder / os.fsdecode(b"caf\xe9/transcripts.txt")).write_text("n\\xff: Words.\n")
    index = listed(folder, max_seconds=1.2)
    clips = {clip.path: clip for clip in index.clips}
    shown = {r"caf\xe9/n\xff.wav", r"caf\xe9/two\x0alines.wav", r"\x5cxe9.wav", "l" * 251 + ".wav"}
    assert shown <= clips.keys()
    for clip in index.clips:
        clip.clip_id.encode()
        assert len(index.load(clip)) == clip.num_samples
        assert clip.split == before[clip.sha256].split
    assert clips[r"caf\xe9/n\xff.wav"].speaker == r"caf\xe9"
    assert clips[r"caf\xe9/n\xff.wav"].text == "Words."
    assert [(bad.path, bad.reason[:10]) for bad in index.bad] == [
        (r"caf\xe9/bad\x0a.wav", "empty file")
    ]
    assert [clip.path for clip in index.clips] == sorted(clip.path for clip in index.clips)
    print(audit(index.config))
    assert r"  caf\xe9/bad\x0a.wav: empty file" in capsys.readouterr().out
    kept = {clip.path for clip in listed(folder, exclude=(r"caf\xe9/*",)).clips}
    assert kept == {path for path in clips if not path.startswith("caf")}


def test_folders_of_odd_names_are_split_by_their_bytes(tmp_path):
    (tmp_path / os.fsdecode(b"\xe9")).mkdir()
    write_wav(tmp_path / os.fsdecode(b"\xe9/a.wav"), noise(0.5), 16000, None)
    (clip,) = listed(tmp_path, split_by="speaker").clips
    place = int(hashlib.sha256(b"\xe9").hexdigest()[:16], 16) % 100
    for percent, split in ((place, "train"), (place + 1, "heldout")):
        (clip,) = listed(tmp_path, split_by="speaker", heldout_percent=percent).clips
        assert clip.split == split


def test_what_is_left_out_is_named(folder):
    (folder / "._00.wav").write_bytes(b"\0\x05\x16\x07" + bytes(99))
    shutil.copytree(folder / "speaker0", folder / "speaker1" / ".Trash")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("no audio")
    (folder / "empty.flac").write_bytes(b"")
    index = listed(folder)
    assert len(index.clips) == 12
    reasons = {bad.path: bad.reason for bad in index.bad}
    assert reasons.keys() == {"._00.wav", "speaker1/.Trash", "empty.flac"}
    assert "macOS metadata" in reasons["._00.wav"]
    assert "hidden folder with 6 audio files: left out" in reasons["speaker1/.Trash"]
    assert "empty file (0 bytes)" in reasons["empty.flac"]


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("speaker1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    index = listed(folder)
    assert len(index.clips) == 6
    ((path, reason),) = [(bad.path, bad.reason) for bad in index.bad]
    assert path == "speaker1"
    assert reason.startswith("folder cannot be read: Permission denied")


def test_lies_of_headers_are_notes_in_the_audit(folder, caplog):
    for name in ("00", "02"):
        path = folder / f"speaker0/book/{name}.wav"
        data = bytearray(path.read_bytes())
        data[4:8] = data[40:44] = b"\xff\xff\xff\x7f"
        path.write_bytes(data)
    index = listed(folder)
    assert len(index.clips) == 12
    assert not index.bad
    line = "read all the same: speaker0/book/00.wav and 1 more: the header does not say how long"
    assert line in str(audit(index.config))
    assert any(record.message.startswith(line) for record in caplog.records)
    assert index.seconds("train") + index.seconds("heldout") == pytest.approx(12.6)


def test_stopped_it_waits_for_no_file(folder, monkeypatch):
    """Which may be long, or lie on a disk that hangs."""
    ended = threading.Event()

    def read(root, name):
        if name.endswith("00.wav"):
            raise KeyboardInterrupt
        ended.wait(30)
        return {}

    monkeypatch.setattr(file_facts, "_file", read)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        listed(folder)
    assert time.monotonic() - began < 15
    ended.set()


def test_an_audit_sums_copies_up(folder):
    for number in range(25):
        write_wav(folder / f"first{number:02}.wav", noise(0.5, seed=100 + number), 16000, None)
        for copy in range(4):
            shutil.copy(folder / f"first{number:02}.wav", folder / f"{number:02}_{copy}.wav")
    lines = str(audit(AudioDataConfig(str(folder)))).splitlines()
    copies = [line for line in lines if line.startswith("same bytes")]
    assert len(copies) == 21
    assert copies[0] == "same bytes: 00_0.wav, 00_1.wav, 00_2.wav, and 2 more; --list names all"
    assert copies[-1] == "same bytes: and 5 more; --list names all"
    everything = str(audit(AudioDataConfig(str(folder)), lists_all=True))
    assert everything.count("same bytes") == 25
    assert "24_3.wav, first24.wav" in everything
