"""Hosts that do not share the folder of their run learn it at once, each in one line."""

import pytest
from support.hosts import call

from audiolm_jax.errors import InputError
from audiolm_jax.training.shared_folder import check_shared

CHECK = "support.shared_folder_cases:check_each"


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_one_disk_is_seen_by_all_and_a_disk_of_its_own_is_told_by_all(tmp_path):
    begun, new, apart = (tmp_path / name for name in ("begun", "new", "apart"))
    for folder in (begun / "disk" / "runs" / "x", new, apart):
        folder.mkdir(parents=True)
    for printed, _ in call(CHECK, f"{begun} 10", f"{new} 10", f"{apart} 0.5 1", devices=1):
        # Gloo writes too.
        said = [line for line in printed.splitlines() if line.startswith(("seen", "--directory"))]
        assert said == [
            "seen by all",
            "seen by all",
            "--directory runs/x: process 1 does not see what process 0 writes there; name a "
            "folder on a disk that all hosts share, or a bucket",
        ]
    assert files_in(tmp_path) == []
    assert [(root / "disk" / "runs" / "x").is_dir() for root in (begun, new)] == [True, False]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--directory .*file/x: .*file cannot be written \("):
        check_shared(tmp_path / "file" / "x")


def test_alone_nothing_stays(tmp_path):
    check_shared(tmp_path / "runs" / "x")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]
