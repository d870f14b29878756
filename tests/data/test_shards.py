"""Shards of records: whole, of the right length, or named."""

import pytest

from audiolm_jax.data.shards import ShardReader, shard_counts, write_records
from audiolm_jax.errors import InputError


def test_a_shard_of_another_length_is_refused(tmp_path):
    path = tmp_path / "a.array_record"
    own = write_records(path, [b"one", b"two", b"three"])
    assert own["bytes"] == path.stat().st_size
    reader = ShardReader("make it again")
    assert reader.read_many(str(path), [2, 0], 3) == [b"three", b"one"]
    for count in (2, 4):
        with pytest.raises(InputError, match=f"3 records, expected {count}; make it again"):
            reader.read(str(path), 0, count)


def test_splits_have_shards_by_their_size():
    assert shard_counts({"train": 90, "heldout": 10}, 9, "train") == {"train": 9, "heldout": 1}
    assert shard_counts({"train": 3, "heldout": 0}, 9, "train") == {"train": 3}
    assert shard_counts({"train": 2, "heldout": 900}, 2, "train") == {"train": 2, "heldout": 900}
