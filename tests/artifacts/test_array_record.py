"""Records of a bucket by their bytes, against the package array_record on the same files."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from audiolm_jax.artifacts.array_record import DamagedRecordsError, RecordFile
from audiolm_jax.artifacts.storage import BucketPath
from audiolm_jax.errors import InputError

OPTIONS = ("group_size:1", "group_size:1,uncompressed", "group_size:7", "group_size:1,brotli:3",
           "group_size:3,snappy", "group_size:1,zstd:9")  # fmt: skip
SIZES = ((0, 1), (1, 0), (5, 10), (60, 3000), (12, 200_000))  # records, their most bytes


def write(path, count, most, options="group_size:1", seed=0):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, most + 1, count)
    records = [rng.integers(0, rng.choice([3, 256]), n).astype(np.uint8).tobytes() for n in sizes]
    writer = ArrayRecordWriter(str(path), options)
    for record in records:
        writer.write(record)
    writer.close()
    return records


@pytest.mark.parametrize("options", OPTIONS)
def test_both_read_what_was_written(tmp_path, bucket, options):
    for number, (count, most) in enumerate(SIZES):
        path = tmp_path / f"{number}.array_record"
        records = write(path, count, most, options, number)
        (bucket / path.name).put(path)
        for file in (RecordFile(path), RecordFile(bucket / path.name)):
            assert file.num_records() == count
            assert file.read_many(range(count)) == records
            order = np.random.default_rng(1).integers(0, max(count, 1), min(count, 20)).tolist()
            assert file.read_many(order) == [records[i] for i in order]
            assert [file.read(i) for i in order] == [records[i] for i in order]
            for wrong in (-1, count):
                with pytest.raises(IndexError):
                    file.read(wrong)


def test_of_a_record_its_bytes_alone_are_asked_for(tmp_path, bucket, monkeypatch):
    records = write(tmp_path / "a", 30, 200_000, "group_size:1,uncompressed")
    (bucket / "a").put(tmp_path / "a")
    asked, read = [], BucketPath.read_ranges

    def noted(self, ranges):
        asked.append([stop - start for start, stop in ranges])
        return read(self, ranges)

    monkeypatch.setattr(BucketPath, "read_ranges", noted)
    file = RecordFile(bucket / "a")
    assert sum(map(sum, asked)) < 3 * 65536
    asked.clear()
    assert file.read(17) == records[17]
    assert sum(map(sum, asked)) < len(records[17]) + 500
    asked.clear()
    assert file.read_many([3, 20]) == [records[3], records[20]]
    assert len(asked) == 1


def test_several_threads_read(tmp_path, bucket):
    records = write(tmp_path / "a", 100, 3000)
    (bucket / "a").put(tmp_path / "a")
    numbers = np.random.default_rng(0).integers(0, 100, 400).tolist()
    for file in (RecordFile(tmp_path / "a"), RecordFile(bucket / "a")):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(file.read, numbers)) == [records[i] for i in numbers]


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_damage_and_nothing_else(tmp_path, bucket, seed):
    """Of flipped bits, zeros and a lost end; what is read all the same has the right length."""
    records = write(tmp_path / "a", 20, 3000, OPTIONS[seed], seed)
    whole, rng = (tmp_path / "a").read_bytes(), np.random.default_rng(seed)
    found = 0
    for number in range(30):
        data = bytearray(whole)
        place = int(rng.integers(len(data)))
        match number % 3:
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place : place + 4000] = bytes(len(data[place : place + 4000]))
            case 2:
                del data[place:]
        (bucket / "a").write_bytes(bytes(data))
        try:
            read = RecordFile(bucket / "a").read_many(range(20))
            assert [len(x) for x in read] == [len(x) for x in records]
        except DamagedRecordsError:
            found += 1
        except IndexError:
            assert RecordFile(bucket / "a").num_records() < 20
    assert found >= 8


def test_what_is_no_such_file_is_named(tmp_path, bucket):
    for place in (tmp_path / "none", bucket / "none"):
        with pytest.raises(InputError, match="none: cannot be opened"):
            RecordFile(place)
    for size in (0, 100, 1 << 17):
        (tmp_path / "a").write_bytes(bytes(size))
        (bucket / "a").write_bytes(bytes(size))
        for place in (tmp_path / "a", bucket / "a"):
            with pytest.raises(DamagedRecordsError, match="a: damaged, or no ArrayRecord file"):
                RecordFile(place)
