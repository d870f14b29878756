"""A token store in a bucket gives what it gives in a folder."""

import json

import jax
import numpy as np
import pytest
from support.token_stores import CUT, LENGTHS, PROVENANCE, make_store, stage

from audiolm_jax.artifacts import storage
from audiolm_jax.artifacts.storage import BucketPath, files_below, upload
from audiolm_jax.data.shards import read_summary
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.loader import token_batches
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.store import TokenStore, shard_name, write_shard
from audiolm_jax.errors import InputError

POSITIONS = np.random.default_rng(0).integers(0, 10**9, 64)


@pytest.fixture
def stores(tmp_path, bucket):
    """(a folder, an address) of the same store, each written where it lies."""
    for place in (tmp_path / "store", bucket / "store"):
        make_store(place, LENGTHS)
    return tmp_path / "store", bucket / "store"


def test_the_files_are_the_same(stores):
    here, there = stores
    assert files_below(here).keys() == files_below(there).keys()
    for name in files_below(here):
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_the_stream_is_the_same(stores, name):
    one, two = (
        StageStream(TokenMixture.open(str(x)), stage(name), "train", 3, 0.5) for x in stores
    )
    for part in (POSITIONS, POSITIONS[:1]):
        jax.tree.map(np.testing.assert_array_equal, one.batch(part), two.batch(part))


def test_a_mixture_of_here_and_there(tmp_path, bucket):
    make_store(bucket / "a", LENGTHS)
    make_store(tmp_path / "a", LENGTHS)
    make_store(tmp_path / "b", {"train": CUT, "heldout": [9]}, dataset="more")
    streams = [
        token_batches(TokenMixture.open([str(x / "a"), str(tmp_path / "b")], [2, 1]),
                      stage("coarse"), 8, seed=1)(5)
        for x in (tmp_path, bucket)
    ]  # fmt: skip
    for _ in range(3):
        jax.tree.map(np.testing.assert_array_equal, *(next(x) for x in streams))


def test_a_batch_asks_each_shard_once(stores, monkeypatch):
    stream = StageStream(TokenMixture.open(str(stores[1])), stage("fine"), "train", 3)
    stream.batch(POSITIONS)
    asked, read = [], BucketPath.read_ranges
    monkeypatch.setattr(
        BucketPath, "read_ranges", lambda self, x: asked.append(self.name) or read(self, x)
    )
    stream.batch(POSITIONS)
    assert sorted(asked) == [shard_name("train", n, 2) for n in range(2)]


def test_to_open_a_store_costs_a_listing_and_its_manifest(stores, monkeypatch):
    asked = []
    for name in ("stat", "read_bytes"):
        real = getattr(BucketPath, name)
        monkeypatch.setattr(
            BucketPath, name, lambda self, real=real, name=name: asked.append(name) or real(self)
        )
    TokenStore.open(stores[1])
    assert asked.count("read_bytes") == 1
    assert len(asked) <= 3


def test_what_is_missing_or_damaged_is_named(stores):
    there, name = stores[1], shard_name("train", 1, 2)
    whole = (there / name).read_bytes()
    (there / name).write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"{name}: {len(whole) - 1} bytes, expected {len(whole)}"):
        TokenStore.open(there)
    (there / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: missing, expected"):
        TokenStore.open(there)
    (there / name).write_bytes(bytes(len(whole)))
    store = TokenStore.open(there)
    with pytest.raises(InputError, match=rf"{name}: content differs"):
        store.verify(hashes=True)
    with pytest.raises(InputError, match=rf"{name}: cannot be read; tokenize again"):
        StageStream(TokenMixture([store]), stage("fine"), "train", 3).batch(POSITIONS)
    (there / "MANIFEST.json").write_bytes((there / "MANIFEST.json").read_bytes()[:100])
    with pytest.raises(InputError, match=r"MANIFEST\.json: damaged"):
        TokenStore.open(there)
    (there / "MANIFEST.json").unlink()
    with pytest.raises(InputError, match="token store is unfinished"):
        TokenStore.open(there)


class Killed(BaseException):
    pass


def test_a_killed_shard_is_written_again(stores, bucket, monkeypatch):
    records = list(TokenStore.open(stores[0]).records("heldout"))
    path, written = bucket / "new" / "a.array_record", []
    for name in ("put", "write_bytes"):
        real = getattr(BucketPath, name)

        def stopped(*arguments, real=real):
            if not written:
                raise Killed
            written.pop()
            return real(*arguments)

        monkeypatch.setattr(BucketPath, name, stopped)
    for allowed in range(2):
        written[:] = [None] * allowed
        with pytest.raises(Killed):
            write_shard(path, records, PROVENANCE)
        assert len(files_below(bucket / "new")) == allowed
        assert read_summary(path, PROVENANCE.fingerprint) is None
    written[:] = [None] * 2
    assert write_shard(path, records, PROVENANCE)["records"] == len(records)
    assert read_summary(path, PROVENANCE.fingerprint)


def test_stores_move_between_folders_and_buckets(stores, bucket, tmp_path):
    upload(stores[0], bucket / "moved")
    storage.download(stores[1], tmp_path / "back")
    prints = {
        TokenStore.open(x).fingerprint for x in (*stores, bucket / "moved", tmp_path / "back")
    }
    assert len(prints) == 1
    manifest = json.loads((bucket / "moved" / "MANIFEST.json").read_text())
    assert manifest["fingerprint"] in prints
