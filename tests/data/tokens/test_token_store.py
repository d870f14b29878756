"""Token records and stores: round trips, and every kind of damage is one clear line."""

import contextlib
import json
import os
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_stores import provenance_of

from audiolm_jax.data.tokens.provenance import TokenSizes
from audiolm_jax.data.tokens.record import TokenRecord, decode_record, encode_record
from audiolm_jax.data.tokens.store import (
    MANIFEST,
    TokenStore,
    shard_name,
    write_manifest,
    write_shard,
)
from audiolm_jax.data.walk import BadFile
from audiolm_jax.errors import InputError
from audiolm_jax.stages import deduplicate

PROVENANCE = provenance_of(
    TokenSizes(
        semantic_clusters=1024,
        semantic_rate_hz=25,
        acoustic_rate_hz=50,
        levels=2,
        codebook_size=1024,
    )
)


def make_record(size, seed=0, top=1024, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "clip_id": f"clip{seed}.wav",
        "codes": rng.integers(0, top, (2 * size, 2)).astype(np.uint16),
        "clusters": rng.integers(0, top, size).astype(np.uint16),
        "dataset": "fake",
        "speaker": "someone",
        "text": "words",
        "source_rate_hz": 44100,
    }
    return TokenRecord(**(fields | changes))


def assert_same(one, other):
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.clusters, other.clusters)
    for name in ("clip_id", "dataset", "speaker", "text", "source_rate_hz"):
        assert getattr(one, name) == getattr(other, name)


@settings(deadline=None)
@given(
    size=st.integers(1, 40),
    seed=st.integers(0, 99),
    texts=st.tuples(*[st.text(max_size=20)] * 4),
    top=st.sampled_from([1, 2, 257, 65536]),
)
def test_record_round_trip(size, seed, texts, top):
    names = ("clip_id", "dataset", "speaker", "text")
    record = make_record(size, seed, top, **dict(zip(names, texts, strict=True)))
    data = encode_record(record)
    assert_same(decode_record(data, "x"), record)
    assert encode_record(record) == data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_hostile_records_are_input_errors(rubbish, cut, whole):
    data = encode_record(make_record(3))
    hostile = rubbish if not whole else data[: cut % len(data)] + rubbish
    try:
        record = decode_record(hostile, "shard-7")
    except InputError as error:
        message = str(error)
        assert message.startswith("shard-7: not a token record")
        return
    assert record.codes.shape[0] % len(record.clusters) == 0


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokens") / "store"
    directory.mkdir()
    records = [make_record(size, seed) for seed, size in enumerate([3, 9, 27, 5, 8])]
    write_shard(directory / shard_name("train", 0, 2), records[:3], PROVENANCE)
    write_shard(directory / shard_name("train", 1, 2), records[3:4], PROVENANCE)
    write_shard(directory / shard_name("heldout", 0, 1), records[4:], PROVENANCE)
    write_manifest(directory, PROVENANCE, {"train": 2, "heldout": 1}, [BadFile("b.wav", "silent")])
    return directory, records


@pytest.fixture
def store(pristine, tmp_path):
    return shutil.copytree(pristine[0], tmp_path / "store")


def test_store_round_trip(pristine):
    directory, records = pristine
    store = TokenStore.open(directory)
    for ours, theirs in zip(store.records("train"), records[:4], strict=True):
        assert_same(ours, theirs)
    assert_same(store.record("heldout", 0), records[4])
    assert (store.num_records("train"), store.num_records("heldout")) == (4, 1)
    assert store.semantic_lengths("train").tolist() == [3, 9, 27, 5]
    assert store.provenance == PROVENANCE
    assert store.manifest["bad"] == [{"path": "b.wav", "reason": "silent"}]
    with pytest.raises(IndexError):
        store.record("train", 4)


def test_sizes_are_known_without_the_shards(store):
    for path in store.glob("*.array_record"):
        path.unlink()
    assert TokenStore.open(store, verify=False).sizes == PROVENANCE.sizes


def test_statistics_are_those_of_the_records(pristine):
    directory, records = pristine
    found = TokenStore.open(directory).manifest["splits"]["train"]["statistics"]
    records = records[:4]
    clusters = np.concatenate([deduplicate(r.clusters.astype(int)) for r in records])
    _, counts = np.unique(clusters, return_counts=True)
    share = counts / counts.sum()
    assert found["clips"] == 4
    assert found["seconds"] == pytest.approx(44 / 25)
    assert found["acoustic_tokens"] == 44 * 2 * 2
    assert found["semantic_tokens"] == 44
    assert found["semantic_deduplicated_per_second"] == pytest.approx(len(clusters) / (44 / 25))
    assert found["semantic_used"] == len(counts)
    assert found["semantic_entropy_nats"] == pytest.approx(-np.sum(share * np.log(share)))
    level = np.unique(np.concatenate([record.codes[:, 1] for record in records]))
    assert found["acoustic_used"][1] == len(level)


def test_same_records_give_the_same_bytes(pristine, tmp_path):
    directory, records = pristine
    name = shard_name("train", 0, 2)
    write_shard(tmp_path / name, records[:3], PROVENANCE)
    for path in (name, f"{name}.json"):
        assert (tmp_path / path).read_bytes() == (directory / path).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.json"]


def refused(directory, reason):
    with pytest.raises(InputError) as caught:
        TokenStore.open(directory).semantic_lengths("train")
    assert reason in str(caught.value)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_unfinished_and_incomplete_stores(store, tmp_path):
    refused(tmp_path / "nothing", "does not exist")
    shard = store / shard_name("train", 1, 2)
    hidden = shard.rename(tmp_path / "hidden")
    refused(store, "missing")
    hidden.rename(shard)
    sidecar = shard.with_name(shard.name + ".json")
    hidden = sidecar.rename(tmp_path / "hidden")
    refused(store, "missing or damaged")
    hidden.rename(sidecar)
    TokenStore.open(store)
    (store / MANIFEST).unlink()
    refused(store, "unfinished")


def test_damaged_shards(store):
    shard = store / shard_name("train", 0, 2)
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    refused(store, "bytes, expected")
    shard.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    refused(store, "content differs")
    shard.write_bytes(data)
    opened = TokenStore.open(store)
    shard.write_bytes(bytes(len(data)))
    with pytest.raises(InputError, match="tokenize again"):
        opened.record("train", 0)


@pytest.fixture
def many_shards(tmp_path):
    records = [make_record(3, seed) for seed in range(24)]
    for number, record in enumerate(records):
        write_shard(tmp_path / shard_name("train", number, 24), [record], PROVENANCE)
    write_manifest(tmp_path, PROVENANCE, {"train": 24}, [])
    return tmp_path, records


def test_few_shards_are_open_at_once_on_all_threads(many_shards, monkeypatch):
    monkeypatch.setattr("audiolm_jax.data.shards.OPEN_SHARDS", 3)
    directory, records = many_shards
    store, shards = TokenStore.open(directory), f"{directory}/train-"
    for number, expected in enumerate(records):
        assert_same(store.record("train", number), expected)
    links = []
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the folder's own is closed by now
            links.append(os.readlink(path))
    assert sum(link.startswith(shards) for link in links) == 3
    with ThreadPoolExecutor(8) as pool:
        read = pool.map(lambda number: store.record("train", number % 24), range(7, 200))
        for number, record in enumerate(read, 7):
            assert_same(record, records[number % 24])


def test_a_full_table_of_open_files_is_called_so(many_shards):
    directory, records = many_shards
    store = TokenStore.open(directory)
    assert_same(store.record("train", 0), records[0])  # what is imported is imported
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        with pytest.raises(InputError, match=r"00005-of-.*: cannot be opened: Too many open") as it:
            store.record("train", 5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "tokenize" not in str(it.value)
    assert "ulimit -n" in str(it.value)
    assert_same(store.record("train", 5), records[5])


def test_repeats_do_not_count_in_the_rate_that_lengths_are_asked_by(tmp_path):
    """6 tokens of 3 runs in 6 / 25 s, which continuations are as long as."""
    clusters = np.array([5, 5, 5, 7, 7, 5], np.uint16)
    write_shard(
        tmp_path / shard_name("train", 0, 1), [make_record(6, clusters=clusters)], PROVENANCE
    )
    write_manifest(tmp_path, PROVENANCE, {"train": 1}, [])
    found = TokenStore.open(tmp_path).manifest["splits"]["train"]["statistics"]
    assert found["semantic_deduplicated"] == 3
    assert found["semantic_deduplicated_per_second"] == pytest.approx(3 * 25 / 6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop("provenance"), "damaged"),
        (lambda m: m.pop("splits"), "damaged"),
        (lambda m: m["provenance"].pop("codec_fingerprint"), "codec_fingerprint"),
        (lambda m: m["provenance"].update(codec_fingerprint="other"), "fingerprint does not match"),
        (lambda m: m["provenance"].update(format_version=99), "format_version 99"),
        (lambda m: m["provenance"]["sizes"].update(levels="two"), "levels"),
        (lambda m: m["splits"]["train"]["shards"][0].update(bytes=1), "expected 1"),
        (lambda m: m["splits"].update(train=[]), "damaged"),
    ],
)
def test_damaged_manifests(store, change, reason):
    manifest = json.loads((store / MANIFEST).read_text())
    change(manifest)
    (store / MANIFEST).write_text(json.dumps(manifest))
    refused(store, reason)
    (store / MANIFEST).write_text("{")
    refused(store, "damaged")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (make_record(3, top=1025, codes=np.full((6, 2), 1024, np.uint16)), "code 1024"),
        (make_record(3, clusters=np.full(3, 1024, np.uint16)), "cluster 1024"),
        (make_record(3, codes=np.zeros((6, 3), np.uint16)), "6 frames of 3 levels"),
        (make_record(3, codes=np.zeros((3, 2), np.uint16)), "3 frames of 2 levels"),
    ],
)
def test_records_that_do_not_fit_are_not_written(tmp_path, record, reason):
    with pytest.raises(InputError, match=reason):
        write_shard(tmp_path / shard_name("train", 0, 1), [record], PROVENANCE)
    assert not (tmp_path / shard_name("train", 0, 1)).exists()


def test_tokens_beyond_16_bits_are_a_defect():
    with pytest.raises(ValueError, match="16 bits"):
        encode_record(make_record(3, clusters=np.full(3, 65536)))
