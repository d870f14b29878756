"""A pack is the folder it was made of: the same clips, splits, fingerprints and samples."""

import contextlib
import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.corpora import make_corpus, make_pack

from audiolm_jax.artifacts.array_record import RecordFile
from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.names import named
from audiolm_jax.audio.resample import resample
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.file_index import index_share
from audiolm_jax.data.index import can_seek, index_folder
from audiolm_jax.data.packs import write
from audiolm_jax.data.packs.config import PackConfig
from audiolm_jax.data.packs.manifest import PACK, UNFINISHED
from audiolm_jax.data.packs.read import Pack
from audiolm_jax.data.packs.sound import quantised
from audiolm_jax.data.packs.write import pack
from audiolm_jax.data.shards import write_records
from audiolm_jax.data.sources import SPLITS
from audiolm_jax.data.workers import Worker
from audiolm_jax.errors import InputError


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def same_clips(folder, packed):
    """Of two indices, but for where their files lie."""
    clips = [dataclasses.replace(clip, file_state=None) for clip in folder.clips]
    others = [dataclasses.replace(clip, file_state=None, packed=None) for clip in packed.clips]
    assert clips == others
    assert folder.fingerprint == packed.fingerprint
    for name in ("heldout_below", "bad", "odd", "other_files", "notes", "split_unit"):
        assert getattr(folder, name) == getattr(packed, name)


def same_samples(folder, packed, crop_seconds=0.2):
    for clip, other in zip(folder.clips, packed.clips, strict=True):
        np.testing.assert_array_equal(folder.load(clip), packed.load(other))
    splits = [split for split in SPLITS if (folder.clips.is_heldout == (split == "heldout")).any()]
    for split, cache in itertools.product(splits, (0, 1 << 30)):
        batches = [
            next(AudioCrops(index, split, crop_seconds, 4, 5, cache_bytes=cache).batches(3))
            for index in (folder, packed)
        ]
        np.testing.assert_array_equal(batches[0].samples, batches[1].samples)
        np.testing.assert_array_equal(batches[0].lengths, batches[1].lengths)


# What the pack is split and cut by; then what is asked of it.
RULES = [
    ({}, [{"max_seconds": 1.7, "sample_rate_hz": 11025}, {"heldout_percent": 50, "split_by": 1}]),
    ({"split_by": "speaker"}, [{"min_seconds": 0.31, "max_seconds": 0.7, "split_by": "file"}]),
    ({"split_by": 2, "heldout_minutes": 0.02}, [{"exclude": ("*/b1/*",), "sample_rate_hz": 8000}]),
    ({"exclude": ("*/b0/*.mp3", "*5.*")}, [{"sample_rate_hz": 24_000, "max_seconds": 5.0}]),
    ({"max_seconds": 0.7, "sample_rate_hz": 22050}, [{"max_seconds": 3.0, "heldout_percent": 60}]),
]


@pytest.mark.parametrize(
    "number", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, len(RULES)))]
)
def test_a_pack_is_its_folder(number, tmp_path):
    rules, questions = RULES[number]
    config = dataclasses.replace(make_corpus(tmp_path / "audio", number, 9), **rules)
    make_pack(config, tmp_path / "pack")
    for question in [{}, *questions]:
        asked = dataclasses.replace(config, **question)
        folder = index_folder(asked)
        packed = index_folder(dataclasses.replace(asked, source=str(tmp_path / "pack")))
        same_clips(folder, packed)
        same_samples(folder, packed)
    rate = config.sample_rate_hz
    for clip in packed.clips:
        assert can_seek(packed.config, clip) == (
            clip.source_rate_hz == packed.config.sample_rate_hz
        )
    again = dataclasses.replace(config, source=str(tmp_path / "pack"), sample_rate_hz=rate)
    make_pack(again, tmp_path / "again")  # a pack of a pack is that pack
    assert contents(tmp_path / "pack") == contents(tmp_path / "again")


def test_what_is_split_by_time_is_read_as_it_was(tmp_path):
    config = make_corpus(tmp_path / "audio", 3, 1, longest=0.5)
    rng = np.random.default_rng(0)
    for name, rate in (("a.flac", 8000), ("b.wav", 4000)):
        soundfile.write(tmp_path / "audio" / name, rng.uniform(-1, 1, rate * 31), rate)
    config = dataclasses.replace(config, split_by="time", heldout_percent=20, max_seconds=8.0)
    make_pack(config, tmp_path / "pack")
    packed = dataclasses.replace(config, source=str(tmp_path / "pack"))
    for changes in ({}, {"max_seconds": 3.3, "sample_rate_hz": 6000}):
        pair = [index_folder(dataclasses.replace(c, **changes)) for c in (config, packed)]
        same_clips(*pair)
        same_samples(*pair)
    with pytest.raises(InputError, match=r"does not hold a\.flac.*--split-by time") as caught:
        index_folder(dataclasses.replace(packed, split_by="file"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [16, 24])
def test_conversion_is_that_of_each_file_then_rounded(bits, tmp_path):
    config = dataclasses.replace(make_corpus(tmp_path / "audio", 8, 8), sample_rate_hz=12_000)
    make_pack(config, tmp_path / "pack", sample_rate_hz=12_000, bits=bits)
    packed = index_folder(dataclasses.replace(config, source=str(tmp_path / "pack")))
    folder, clipped = index_folder(config), 0
    assert packed.fingerprint != folder.fingerprint
    split_of = {clip.path: clip.split for clip in folder.clips}
    assert {clip.path: clip.split for clip in packed.clips} == split_of
    clips = sorted(packed.clips, key=lambda clip: (clip.path, clip.start_seconds))
    for path, group in itertools.groupby(clips, key=lambda clip: clip.path):
        samples, rate = read_audio(tmp_path / "audio" / named(path))
        expected, lost = quantised(resample(samples, rate, 12_000, "soxr_hq"), bits)
        read = np.concatenate([packed.load(clip) for clip in group])
        np.testing.assert_allclose(read, expected, atol=2e-6)
        assert np.mean(read == expected) > 0.9999  # blocks may round the last bit otherwise
        clipped += lost
    manifest = Pack(tmp_path / "pack", True).manifest
    assert manifest["clipped_samples"] == clipped
    assert set(manifest["encodings"]) == {f"flac{bits}"}
    other = dataclasses.replace(packed.config, max_seconds=0.7)
    longest = max(index_folder(other).clips.source_seconds)
    assert 0.5 < longest <= 0.7
    same_samples(index_folder(other), index_folder(other))
    with pytest.raises(InputError, match=r"--data\.sample-rate-hz = 16000: .*converted to 12000"):
        index_folder(dataclasses.replace(packed.config, sample_rate_hz=16_000))
    with pytest.raises(InputError, match="was converted before"):
        pack(packed.config, PackConfig(2, 8_000), tmp_path / "more")


def test_what_a_pack_has_not_is_refused(tmp_path):
    config = make_corpus(tmp_path / "audio", 5, 8)
    soundfile.write(tmp_path / "audio/z.wav", np.linspace(-1, 1, 3200), 8000)
    first = index_folder(config).clips[0].path
    stricter = dataclasses.replace(config, min_seconds=0.45, exclude=(first,))
    make_pack(stricter, tmp_path / "pack")
    packed = dataclasses.replace(stricter, source=str(tmp_path / "pack"))
    index_folder(packed)
    for changes in ({"min_seconds": 0.2}, {"exclude": ()}):
        with pytest.raises(InputError, match=r"does not hold .*packed with .*--min-seconds 0\.45"):
            index_folder(dataclasses.replace(packed, **changes))


def test_files_that_nobody_decoded_are_asked_for(tmp_path):
    config = dataclasses.replace(make_corpus(tmp_path / "audio", 6, 8), exclude=("*/b0/*",))
    make_pack(config, tmp_path / "pack")  # which makes the index
    packed = dataclasses.replace(config, source=str(tmp_path / "pack"))
    same_clips(index_folder(config), index_folder(packed))
    with pytest.raises(InputError, match=r"does not hold .*/b0/"):
        index_folder(dataclasses.replace(packed, exclude=()))


class Killed(BaseException):
    """Nobody catches it."""


def test_interrupted_and_by_workers_the_bytes_are_the_same(tmp_path, monkeypatch):
    config = make_corpus(tmp_path / "audio", 11, 10)
    for worker in (1, 0):
        index_share(config, Worker(worker, 2))
    make_pack(config, tmp_path / "whole", 5)
    for path in (tmp_path / "audio/.audiolm_index").rglob("*.*"):
        path.unlink()
    rng, encode = random.Random(1), write.encode_sound

    def dies(*arguments):
        if rng.random() < 0.2:
            raise Killed
        return encode(*arguments)

    kills, done = 0, set()
    monkeypatch.setattr(write, "encode_sound", dies)
    while done != {0, 1, 2}:
        worker = rng.randrange(3)
        try:
            finished = pack(config, PackConfig(5), tmp_path / "killed", Worker(worker, 3))
        except Killed:
            kills += 1
            assert not (tmp_path / "killed" / PACK).exists()
            with pytest.raises(InputError, match="not finished"):
                index_folder(dataclasses.replace(config, source=str(tmp_path / "killed")))
        else:
            done.add(worker)
            assert not finished or done == {0, 1, 2}
    assert kills > 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    # A last call without a number finds nothing to do, and another pack is refused.
    assert pack(config, PackConfig(5), tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    with pytest.raises(InputError, match=r"holds a pack of fingerprint .*delete the folder"):
        pack(config, PackConfig(4), tmp_path / "killed")
    (tmp_path / "killed" / PACK).unlink()
    (tmp_path / "killed" / UNFINISHED).write_text("{}")
    with pytest.raises(InputError, match="holds shards of another pack"):
        pack(config, PackConfig(5), tmp_path / "killed")
    with pytest.raises(InputError, match="lies in the folder that is packed"):
        pack(config, PackConfig(5), tmp_path / "audio/pack")
    assert not (tmp_path / "audio/pack").exists()


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_damage_is_found_before_training_or_at_the_record(tmp_path):
    config = make_corpus(tmp_path / "audio", 13, 5)
    make_pack(config, tmp_path / "pack", 2)
    packed = dataclasses.replace(config, source=str(tmp_path / "pack"))
    index = index_folder(packed)
    expected = [index.load(clip) for clip in index.clips]

    def read_all():
        index = index_folder(packed)
        return [index.load(clip) for clip in index.clips]

    def refused(function, *words):
        with pytest.raises(InputError) as caught:
            function()
        assert all(word in str(caught.value) for word in words)
        assert "\n" not in str(caught.value)

    for name, data in sorted(contents(tmp_path / "pack").items()):
        path = tmp_path / "pack" / name
        if name.endswith("json") and name != PACK:
            continue
        path.write_bytes(data[: len(data) // 2])
        refused(read_all, name, "pack again")
        refused(lambda: Pack(tmp_path / "pack", True), name)
        path.unlink()
        refused(read_all, str(tmp_path / "pack"))
        rng = np.random.default_rng(len(data))
        places = rng.choice(len(data), 4)
        if "array_record" in name:  # where the sound is, and anywhere
            places = np.concatenate(
                [places, rng.choice(np.flatnonzero(np.frombuffer(data, np.uint8)), 6)]
            )
        for place in places.tolist():
            path.write_bytes(data)
            damage(path, place)
            refused(lambda: Pack(tmp_path / "pack", True), str(tmp_path / "pack"))
            with contextlib.suppress(InputError):  # which says so, or it is where no sound is
                found = read_all()
                assert "array_record" in name
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
        path.write_bytes(data)
    read_all()


def test_sound_that_was_changed_within_a_whole_file_is_found(tmp_path):
    """As where a bucket is read, in which the sums of ArrayRecord itself are not looked at."""
    config = make_corpus(tmp_path / "audio", 13, 5)
    make_pack(config, tmp_path / "pack", 1)
    packed = dataclasses.replace(config, source=str(tmp_path / "pack"))
    shard = next((tmp_path / "pack").glob("*-train.array_record-*[0-9]"))
    reader = RecordFile(shard)
    records = [bytearray(reader.read(n)) for n in range(reader.num_records())]
    for record in records:
        sound = max(record.find(b"fLaC"), record.find(b"RIFF"))
        record[sound + 60] ^= 4
    write_records(shard, map(bytes, records), ",uncompressed")
    again = index_folder(packed)
    clip = again.of("train")[0]
    with pytest.raises(InputError, match="its sound fails its checksum; pack again"):
        again.load(clip)


def test_a_record_in_the_place_of_another_is_found(tmp_path):
    """As when shards of two packs are mixed whose records are as many and as large."""
    config = make_corpus(tmp_path / "audio", 13, 5)
    make_pack(config, tmp_path / "pack", 2)
    packed = index_folder(dataclasses.replace(config, source=str(tmp_path / "pack")))
    opened = Pack(tmp_path / "pack", False)
    opened._shard, opened._position = (np.roll(x, 1) for x in (opened._shard, opened._position))
    assert len(packed.clips) > 2
    for clip in packed.clips:
        start = round(clip.start_seconds * clip.source_rate_hz)
        with pytest.raises(InputError, match=r"record \d+: not a record of this pack: .*another"):
            opened.read(clip.packed, start, start + 10)
