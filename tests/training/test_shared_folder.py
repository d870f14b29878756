"""Hosts that do not share the folder of their run learn it at once, each in one line."""

import pytest
from support.hosts import call

from audiolm_jax.errors import InputError
from audiolm_jax.training.shared_folder import check_shared

CHECK = "support.shared_folder_cases:check"


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("is_begun", [False, True])
def test_one_disk_is_seen_by_all(tmp_path, is_begun):
    if is_begun:
        (tmp_path / "disk" / "runs" / "x").mkdir(parents=True)
    for printed, _ in call(CHECK, tmp_path, 10, devices=1):
        assert "does not see" not in printed
    assert files_in(tmp_path) == []
    assert (tmp_path / "disk" / "runs" / "x").is_dir() == is_begun


def test_a_disk_of_its_own_is_told_by_all(tmp_path):
    for printed, _ in call(CHECK, tmp_path, 0.5, 1, devices=1):
        assert printed.splitlines()[-1] == (
            "--directory runs/x: process 1 does not see what process 0 writes there; name a "
            "folder on a disk that all hosts share, or a bucket"
        )
    assert files_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--directory .*file/x: .*file cannot be written \("):
        check_shared(tmp_path / "file" / "x")


def test_alone_nothing_stays(tmp_path):
    check_shared(tmp_path / "runs" / "x")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]
