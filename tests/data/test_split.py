"""What is held out by other rules than the hash of a file: speakers, columns, time, official."""

import hashlib
import math

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.audit import audit
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.split import GAP_SECONDS, parts_in_time, share_in_time
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import TokenStore, shard_name, write_manifest, write_shard
from audiolm_jax.data.unheard import check_unheard, check_untrained
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import audio_facts

RATE_HZ = 8000


def record(root, name, seconds=0.4, seed=0):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ))
    write_wav(path, noise.clip(-1, 1).astype(np.float32), RATE_HZ, None)


def listed(root, **rules):
    return scan(AudioDataConfig(str(root), sample_rate_hz=RATE_HZ, **rules))


def parts(index, of):
    """split -> what the clips on that side have."""
    sides = {}
    for clip in index.clips:
        sides.setdefault(clip.split, set()).add(of(clip))
    return sides


@pytest.fixture
def libri(tmp_path):
    for number in range(12):
        who, part = 100 + number % 6, "dev-clean" if number % 6 > 3 else "train-clean-100"
        record(tmp_path, f"LibriSpeech/{part}/{who}/7/{who}-7-{number:04}.wav", seed=number)
    return tmp_path


def test_speakers_of_a_corpus_are_not_its_first_folders(libri):
    index = listed(libri, split_by="speaker", heldout_percent=50)
    sides = parts(index, lambda clip: clip.speaker)
    assert sides["train"] | sides["heldout"] == {str(100 + n) for n in range(6)}
    assert not sides["train"] & sides["heldout"]
    for who in sides["heldout"]:
        assert int(hashlib.sha256(who.encode()).hexdigest()[:16], 16) % 100 < 50
    assert "speakers: 10" in str(audit(index.config))


def test_an_official_split_is_kept(libri):
    index = listed(libri, split_by="official", heldout_percent=0)
    sides = parts(index, lambda clip: clip.path.split("/")[1])
    assert sides == {"train": {"train-clean-100"}, "heldout": {"dev-clean"}}
    record(libri, "stray.wav", seed=99)
    index = listed(libri, split_by="official")
    assert [(bad.path, bad.kind) for bad in index.bad] == [("stray.wav", "in no official part")]
    record(libri / "lone", "a.wav")
    with pytest.raises(InputError, match=r"none of 1 audio files .* needs train, dev or test"):
        listed(libri / "lone", split_by="official")


def test_maestro_is_split_by_its_list(tmp_path):
    """The folder as it is unpacked: recordings and MIDI by year, and the list above them."""
    head = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"
    rows = []
    for number, part in enumerate(("train", "validation", "test", "train")):
        name = f"{2004 + number // 2}/MIDI-{number}_wav--{number}"
        record(tmp_path, f"{name}.wav", seed=number)
        (tmp_path / f"{name}.midi").write_bytes(b"MThd")
        rows.append(f'"Liszt, F.","Etude ""{number}""",{part},2004,{name}.midi,{name}.wav,0.4')
    (tmp_path / "maestro-v3.0.0.csv").write_text("\n".join([head, *rows]))
    index = listed(tmp_path, split_by="official")
    sides = parts(index, lambda clip: clip.path.split("/")[1][5])
    assert sides == {"train": {"0", "3"}, "heldout": {"1", "2"}}
    assert not index.bad
    assert index.passed_over == ""


def test_a_column_names_what_is_held_out(tmp_path):
    rows = ["path\tstory\tage"]
    for number in range(24):
        record(tmp_path, f"s{number % 2}/{number}.wav", seed=number)
        rows.append(f"s{number % 2}/{number}.wav\tstory{number % 8}\t")
    (tmp_path / "metadata.tsv").write_text("\n".join(rows))
    index = listed(tmp_path, split_by="story", heldout_percent=50)
    sides = parts(index, lambda clip: int(clip.path[3:-4]) % 8)
    assert len(sides["train"]) + len(sides["heldout"]) == 8
    assert not sides["train"] & sides["heldout"]
    with pytest.raises(
        InputError, match=r"split-by = age: .*s0/0.wav has no age, .* speaker, story"
    ):
        listed(tmp_path, split_by="age")
    (tmp_path / "metadata.tsv").write_text("\n".join(rows).replace("story0", "story1"))
    assert listed(tmp_path, split_by="story", heldout_percent=50).fingerprint != index.fingerprint
    by_file = listed(tmp_path).fingerprint
    (tmp_path / "metadata.tsv").unlink()
    assert listed(tmp_path).fingerprint == by_file  # what metadata does not decide


def test_speakers_by_folder_and_by_metadata_are_compared(tmp_path):
    """Folders decide as they always did; what a list says decides otherwise."""
    for number in range(12):
        record(tmp_path, f"s{number % 4}/{number}.wav", seed=number)
    folders = listed(tmp_path, split_by="speaker", heldout_percent=50)
    assert folders.split_unit == "1"
    assert "split_unit" not in audio_facts(folders)
    data = {"source": str(tmp_path), "split_by": "speaker", "heldout_percent": 50}
    old = {"config": {"data": data}, "data": {}}
    check_unheard(folders, {"old": old})
    rows = [f"s{n % 4}/{n}.wav\tvoice{n % 6}" for n in range(12)]
    (tmp_path / "metadata.tsv").write_text("path\tspeaker\n" + "\n".join(rows))
    named = listed(tmp_path, split_by="speaker", heldout_percent=50)
    facts = audio_facts(named)
    assert facts["split_unit"] == "speaker"
    assert named.fingerprint != folders.fingerprint
    check_unheard(named, {"new": {"config": {"data": data}, "data": facts}})
    for index, model in ((named, old), (folders, {"config": {"data": data}, "data": facts})):
        with pytest.raises(InputError, match="knows some of what is held out"):
            check_unheard(index, {"model": model})


@pytest.mark.parametrize("seconds", [49.9, 50.0, 61.3, 600.0])
def test_the_end_of_a_file_is_held_out_behind_a_gap(seconds):
    total = round(seconds * RATE_HZ)
    found = parts_in_time(total, RATE_HZ, 0.1)
    if seconds < 10 * GAP_SECONDS:
        assert found == [("train", 0, total)]
        return
    (train, heldout) = found
    assert (train[:2], heldout[2]) == (("train", 0), total)
    assert heldout[2] - heldout[1] == round(total * 0.1)
    assert heldout[1] - train[2] == GAP_SECONDS * RATE_HZ


@pytest.mark.parametrize("minutes", [0.1, 1.0, 5.0])
def test_minutes_in_time_are_kept_where_files_are_too_short(minutes):
    config = AudioDataConfig("audio", split_by="time", heldout_minutes=minutes)
    for lengths in ([3.0, 20.0, 40.0, 500.0, 1500.0], [999.0, 1000.0]):
        share = share_in_time(config, lengths)
        heldout = [share * length for length in lengths if share * length >= GAP_SECONDS]
        assert sum(heldout) >= 60 * minutes - 1e-9
        assert min(heldout) == pytest.approx(GAP_SECONDS) or math.isclose(
            sum(heldout), 60 * minutes
        )


def test_one_long_recording_is_a_data_set(tmp_path):
    record(tmp_path, "all.wav", 90.0)
    (tmp_path / "transcripts.txt").write_text("all: everything\n")
    rules = {"heldout_percent": 20, "max_seconds": 20.0}
    remedy = "one file is not divided by files: hold out its end with --data.split-by time"
    with pytest.raises(InputError, match=f"no heldout clip .*; {remedy}"):
        listed(tmp_path, heldout_percent=0).of("heldout")
    index = listed(tmp_path, split_by="time", **rules)
    assert [clip.clip_id for clip in index.clips] == [f"all.wav#{n:04d}" for n in range(5)]
    assert [clip.split for clip in index.clips] == ["train"] * 4 + ["heldout"]
    assert index.seconds("train") == pytest.approx(90 * 0.8 - GAP_SECONDS)
    assert index.seconds("heldout") == pytest.approx(18)
    assert index.of("heldout")[0].start_seconds == 72
    assert index.load(index.of("heldout")[0]).shape == (18 * RATE_HZ,)
    assert {clip.text for clip in index.clips} == {""}
    stated = "heldout: 1 clips, 0.3 min: the last 20 % of each long file, 5 s before it left out"
    assert stated in str(audit(index.config))
    short = listed(tmp_path, split_by="time", heldout_percent=5)
    with pytest.raises(InputError, match="of which the share held out is at least 5 s long"):
        short.of("heldout")


def test_what_was_trained_on_in_time_is_not_held_out(tmp_path):
    record(tmp_path, "all.wav", 90.0)
    rules = [
        {"split_by": "time", "heldout_percent": 10},
        {"split_by": "time", "heldout_percent": 30},
        {"split_by": "time", "heldout_minutes": 0.4},
        {"heldout_percent": 99},
    ]
    indices = [listed(tmp_path, **rule) for rule in rules]
    for trained, facts in ((i, audio_facts(i)) for i in indices):
        model = {"config": {"data": vars(trained.config)}, "data": facts}
        for measured in indices:
            begins = [c.start_seconds for c in measured.clips if c.split == "heldout"]
            heard = (
                [c.start_seconds + c.num_samples / RATE_HZ for c in trained.of("train")]
                if any(c.split == "train" for c in trained.clips)
                else [0]
            )
            try:
                check_unheard(measured, {"codec": model})
            except InputError:
                assert measured is not trained
            else:
                assert measured is trained or min(begins) >= max(heard) + GAP_SECONDS - 1e-9


def test_parts_of_a_file_in_two_splits_have_one_beginning_and_one_end(tmp_path):
    """Stages learn from the edges of files: the cut in the middle of one is none."""
    record(tmp_path, "all.wav", 90.0)
    index = listed(tmp_path, split_by="time", heldout_percent=20, max_seconds=10.0)
    sizes = TokenSizes(8, 25, 50, 2, 8)
    words = ("audio", index.fingerprint, RATE_HZ, "soxr_hq", PADDING_RULE, "c", "s")
    provenance = TokenProvenance(*words, sizes, FORMAT_VERSION)
    ones = np.ones((4, 2), np.uint16), np.ones(2, np.uint16)
    (tmp_path / "store").mkdir()
    for split in ("train", "heldout"):
        records = [TokenRecord(c.clip_id, *ones, "audio", "", "", RATE_HZ) for c in index.of(split)]
        write_shard(tmp_path / "store" / shard_name(split, 0, 1), records, provenance)
    write_manifest(tmp_path / "store", provenance, {"train": 1, "heldout": 1}, [])
    store = TokenStore.open(tmp_path / "store")
    train, heldout = (store.file_edges(split) for split in ("train", "heldout"))
    assert (set(train[0]), set(train[1])) == ({0}, {-1})
    assert (set(heldout[0]), set(heldout[1])) == ({-1}, {store.num_records("heldout") - 1})
    check_untrained(index, store, {})
    with pytest.raises(
        InputError, match=r"1 of 1 held-out files, such as all\.wav, are training data"
    ):
        check_untrained(listed(tmp_path, split_by="time", heldout_percent=10), store, {})
