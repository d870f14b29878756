"""Datasets of TFDS as a source: what is odd in them, the index, and what is refused."""

import dataclasses
import json
import re
import shutil
import zlib

import numpy as np
import pytest
from support.tfds_datasets import audio, number, serialized, text, write_dataset

from audiolm_jax.cli.main import main
from audiolm_jax.data import examples as numbered
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.examples import index_examples_share
from audiolm_jax.data.file_index import FILES
from audiolm_jax.data.index import files_of, index_folder, load_part
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tfds import examples, recordings
from audiolm_jax.data.tfds.dataset import Sound, split_is_left_out
from audiolm_jax.data.workers import Worker
from audiolm_jax.errors import InputError

RNG = np.random.default_rng(0)
FEATURES = {"audio": audio(), "id": text(), "speaker": text(), "age": number()}


def sound(samples=8000):
    return RNG.integers(-(2**15), 2**15, samples)


def example(name, samples=8000):
    return {"audio": sound(samples), "id": name, "speaker": name[0], "age": 7}


def small(root, **more):
    """A dataset of two splits."""
    train = [example(f"{letter}{n}") for letter in "ab" for n in range(4)]
    splits = {"train": train, "dev": [example(f"c{n}") for n in range(3)]}
    folder = write_dataset(root, FEATURES, splits, **more)
    return AudioDataConfig(str(folder), heldout_percent=0), splits


def columns(files):
    """All that an index says, in plain values."""
    assert set(files.columns) >= {"example", "path"}
    return {name: values.to_pylist() for name, values in files.columns.items()}


def test_numbers_are_those_of_protobuf():
    for _ in range(50):
        bits = RNG.integers(0, 64, RNG.integers(0, 40)).astype(np.uint64)
        numbers = (RNG.integers(0, 2**63, len(bits)).astype(np.uint64) >> bits).astype(np.int64)
        numbers *= RNG.choice([-1, 1], len(bits))
        fields = examples.fields_of(serialized({"n": numbers})) if len(bits) else {}
        raw = fields["n"].int64_list.value if fields else b""
        np.testing.assert_array_equal(examples._varints(np.frombuffer(raw, np.uint8)), numbers)
    for hostile in (b"\xff" * 11 + b"\x01", b"\x80" * 20 + b"\x00"):
        with pytest.raises(ValueError, match="more than ten bytes"):
            examples._varints(np.frombuffer(hostile, np.uint8))


@pytest.mark.parametrize("stored", ["numbers", "bytes", "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32"])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_part_is_that_of_the_whole(stored, dtype, channels):
    if dtype == "float32":
        values = RNG.normal(0, 0.1, (500, channels)).astype(np.float32)
        scaled = values
    else:
        limits = np.iinfo("int16" if dtype == "int64" else dtype)
        values = RNG.integers(limits.min, limits.max, (500, channels), endpoint=True, dtype=dtype)
        zero = 128 if dtype == "uint8" else 0
        scaled = ((values - np.int64(zero)).astype(np.float32)) / -np.float32(
            -128 if dtype == "uint8" else limits.min
        )
    data = values.tobytes()
    data = {"numbers": values, "bytes": data, "zlib": zlib.compress(data)}[stored]
    fields = examples.fields_of(serialized({"s": data}))
    how = Sound("s", stored, dtype, channels, 16000)
    whole = examples.hear(fields, how).samples
    np.testing.assert_allclose(whole, scaled.mean(axis=1, dtype=np.float32), atol=1e-7)
    for start, stop in [(0, 500), (0, 0), (499, 500), (10, 11), (17, 400), (490, 600)]:
        part, total = examples.read_sound(fields, how, start, stop)
        assert total == 500
        np.testing.assert_array_equal(part, whole[start:stop])


def test_from_dataset_to_crops(tmp_path):
    config, splits = small(tmp_path)
    found = index_folder(config)
    by_id = {f"{s}/{e['id']}": e for s, examples_ in splits.items() for e in examples_}
    assert [clip.clip_id for clip in found.clips] == sorted(by_id)
    for clip in found.clips:
        expected = (by_id[clip.clip_id]["audio"] / 2**15).astype(np.float32)
        np.testing.assert_array_equal(found.load(clip), expected)
        np.testing.assert_array_equal(load_part(config, clip, 99, 300), expected[99:300])
        assert clip.speaker == clip.clip_id.partition("/")[2][0]
    assert files_of(config).row(0)["age"] == "7"
    short = dataclasses.replace(config, max_seconds=0.3, min_seconds=0.1)
    pieces = index_folder(short)
    assert len(pieces.clips) == 22
    whole, cut = (AudioCrops(i, "train", 0.2, 4, 0) for i in (found, pieces))
    assert next(whole.batches(3)).samples.shape == next(cut.batches(3)).samples.shape
    clip = pieces.clips[1]
    np.testing.assert_array_equal(
        pieces.load(clip), found.load(found.clips[0])[clip.source_samples :]
    )


def test_workers_and_restarts_make_the_same_index(tmp_path, monkeypatch):
    config, _ = small(tmp_path)
    monkeypatch.setattr(numbered, "_BLOCK", 2)
    alone = dataclasses.replace(config, index=str(tmp_path / "alone"))
    shared = dataclasses.replace(config, index=str(tmp_path / "shared"))
    whole = files_of(alone)
    heard, hear = [], recordings.hear

    def failing(*given):
        heard.append(1)
        if len(heard) == 4:
            raise MemoryError("the machine went away")
        return hear(*given)

    monkeypatch.setattr(recordings, "hear", failing)
    with pytest.raises(MemoryError):
        files_of(shared)
    counts = [index_examples_share(shared, Worker(number, 3)) for number in range(2)]
    assert sum(counts) == 8
    before = len(heard)
    together = files_of(shared)
    assert len(heard) - before == 3  # the third worker's, who never came
    assert columns(together) == columns(whole)
    assert not list((tmp_path / "shared").glob("parts/*"))
    monkeypatch.setattr(recordings, "hear", None)  # from now on nothing is decoded
    assert columns(files_of(shared)) == columns(whole)
    assert index_folder(alone).fingerprint == index_folder(shared).fingerprint


def test_a_split_that_is_left_out_is_not_decoded(tmp_path, monkeypatch):
    config, _ = small(tmp_path)
    without = dataclasses.replace(config, exclude=("dev/*",))
    found = index_folder(without)
    assert len(found.clips) == 8
    assert [bad.path for bad in found.bad] == ["dev/"]
    monkeypatch.setattr(recordings, "hear", lambda *given: decoded.append(1) or hear(*given))
    decoded, hear = [], examples.hear
    assert len(index_folder(config).clips) == 11
    assert len(decoded) == 3
    assert len(index_folder(without).clips) == 8
    assert len(index_folder(dataclasses.replace(config, exclude=("*/a*",))).clips) == 7
    assert len(decoded) == 3
    for pattern, expected in {
        "dev*": 1,
        "*": 1,
        "d?v/*": 1,
        "*/?": 0,
        "dev/c*": 0,
        "v*": 0,
    }.items():
        assert split_is_left_out("dev", (pattern,)) == bool(expected), pattern


def test_odd_examples(tmp_path):
    """Each is used, or bad for a reason of its own."""
    values = {
        "good": {"audio": np.array(sound()), "id": "a#0001"},
        "twice": {"audio": sound(), "id": "a#0001"},
        "short": {"audio": sound(9), "id": "short"},
        "nothing": {"id": "nothing"},
        "loud": {"audio": np.array([0, 2**15] * 4000), "id": "loud"},
        "bytes": {"audio": b"abc", "id": "bytes"},
        "line": {"audio": sound(), "id": "a\nb", "speaker": "ü\x85"},
        "latin": {"audio": sound(), "id": b"\xe9", "speaker": "x"},
        "none": {"audio": sound()},
        "two": {"audio": sound(), "id": "two", "age": np.array([1, 2]), "other": 3},
    }
    folder = write_dataset(tmp_path, FEATURES, {"train": list(values.values())}, shards=3)
    config = AudioDataConfig(str(folder), heldout_percent=0)
    found = index_folder(config)
    good = ["00000008", r"\xe9", "a b", r"a\x230001", "two"]
    assert [clip.clip_id for clip in found.clips] == [f"train/{name}" for name in sorted(good)]
    reasons = {bad.path: bad.reason for bad in found.bad}
    assert {path: reason.split(",")[0][:30] for path, reason in reasons.items()} == {
        r"train/a\x230001 (example 1)": "the same id as another example",
        "train/short": "too short: 0.001 s",
        "train/nothing": "damaged sound: its field 'audi",
        "train/loud": "damaged sound: samples beyond ",
        "train/bytes": "damaged sound: its field 'audi",
    }
    for clip in found.clips:
        assert len(found.load(clip)) == clip.num_samples == 8000


def test_floats_that_are_none(tmp_path):
    values = [np.full(8000, 0.5, np.float32), np.append(np.full(8000, 0.5), np.nan)]
    features = {"audio": audio("float32")}
    folder = write_dataset(tmp_path, features, {"test": [{"audio": v} for v in values]})
    found = index_folder(AudioDataConfig(str(folder), heldout_percent=0))
    assert [clip.clip_id for clip in found.clips] == ["test/00000000"]
    assert "NaN" in found.bad[0].reason


def test_a_dataset_that_changes(tmp_path):
    config, _ = small(tmp_path)
    config = dataclasses.replace(config, index=str(tmp_path / "index"))  # which outlives it
    found = index_folder(config)
    shutil.rmtree(tmp_path / "mine")
    write_dataset(tmp_path, FEATURES, {"train": [example("z1", 9000), example("z2")]})
    again = index_folder(config)
    assert [clip.clip_id for clip in again.clips] == ["train/z1", "train/z2"]
    # Of the same size, which nothing but reading tells.
    (shard, other) = sorted((tmp_path / "mine/1.0.0").glob("*array_record*"))
    assert found.fingerprint != again.fingerprint
    other.write_bytes(other.read_bytes()[:2000] + bytes(other.stat().st_size - 2000))
    with pytest.raises(InputError, match=f"{re.escape(str(other))}.*prepare the dataset again"):
        again.load(again.clips[1])
    shard.unlink()
    with pytest.raises(InputError, match="prepare the dataset again"):
        index_folder(config)


def refused(source, *words, **more):
    with pytest.raises(InputError) as caught:
        index_folder(AudioDataConfig(source, **more))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_what_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    command = "tfds.builder('ljspeech', file_format='array_record').download_and_prepare()"
    refused("tfds:ljspeech", "not prepared in", str(tmp_path / "data"), command)
    elsewhere = f"tfds:ljspeech/data_dir={tmp_path}/x"
    refused(elsewhere, f"data_dir='{tmp_path}/x').download_and_prepare()")
    for name in ("tfds:", "tfds:a b", "tfds:a:1", "tfds:a/b/c", "tfds:a/rate=1", "tfds:../x"):
        refused(name, "expected tfds:NAME")
    small(tmp_path / "data")
    refused("tfds:mine:2.*.*", "there are mine/1.0.0", "'mine:2.*.*'")
    refused("tfds:mine/low", "there are mine/1.0.0")
    for name in ("tfds:mine", "tfds:mine:1.*.*", "tfds:mine:1.0.0", "tfds:mine/sample_rate=8000"):
        assert len(index_folder(AudioDataConfig(name)).clips) == 11
    one = {"train": [{"audio": sound()}]}
    rows = (
        ("two", {"a": audio(), "b": audio()}, "exactly one Audio", "found a, b"),
        ("no", {"a": text()}, "exactly one Audio", "found none"),
        ("mp3", {"audio": audio(lazyDecode=True, fileFormat="mp3")}, "kept as mp3"),
        ("odd", {"audio": 3}, "prepare the dataset again"),
    )
    for name, features, *words in rows:
        refused(str(write_dataset(tmp_path / "bad", features, one, name)), *words)
    folder = write_dataset(tmp_path / "bad", {"audio": audio("int64", rate=0)}, one, "rateless")
    refused(str(folder), "no known Hz", "sample_rate=48000")
    named = f"tfds:rateless/sample_rate=48000,data_dir={tmp_path}/bad"
    assert index_folder(AudioDataConfig(named, min_seconds=0.1)).clips[0].num_samples == 2667
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    for shard in folder.glob("*array_record*"):
        shard.unlink()
    refused(named, "prepared as tfrecord", f"dataset_version_dir='{folder}'")
    info.write_text(json.dumps({"name": "x"}))
    refused(named, "prepare the dataset again")


def test_index_and_audit_from_the_command_line(tmp_path, capsys):
    config, _ = small(tmp_path)
    name = f"tfds:mine/data_dir={tmp_path}"
    assert main(["index", name, "--worker", "0/2"]) == 0
    assert main(["index", name]) == 0
    said = capsys.readouterr().out
    assert "11 recordings by worker 0/2" in said
    assert f"{tmp_path}/mine/1.0.0/.audiolm_index: 11 recordings, 0.00 h; 0 bad" in said
    assert main(["audit", name, "--split-by", "official"]) == 0
    said = capsys.readouterr().out
    assert "11 good files, 0 bad" in said
    assert "heldout: 3 clips" in said
    assert (tmp_path / "mine/1.0.0/.audiolm_index" / FILES).is_file()
    assert len(index_folder(config).clips) == 11
    for source in (name, config.source):
        assert main(["info", source]) == 0
        said = capsys.readouterr().out
        assert f"dataset of TFDS mine/1.0.0 in {tmp_path}/mine/1.0.0, not verified" in said
        assert "  sound: audio, int16 of 16000 Hz\n  dev: 3 examples, 0.00 GB in 2 shards" in said
        assert "  train: 8 examples" in said
    assert main(["info", "tfds:other"]) == 2
