"""Where a file cannot go is said before the work, and nothing is left behind."""

import os

import pytest

from audiolm_jax.artifacts.output_path import check_output_file, check_output_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.errors import InputError


def test_good_places_leave_nothing(tmp_path, monkeypatch):
    source = tmp_path / "in.wav"
    source.write_text("sound")
    (tmp_path / "old.wav").write_text("older")
    (tmp_path / "to_nothing.wav").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for name in ("new.wav", "old.wav", "new/new.wav", "to_nothing.wav", "é" * 124 + ".wav"):
        check_output_file(tmp_path / name, [source], 1000)
        check_output_file(at(name), [source], 1000)
    check_output_folder(tmp_path / "new", 1000)
    check_output_folder(tmp_path, 1000)
    check_output_file(at("gs://bucket/a.wav"), [source, at("gs://bucket/b.wav")], 1 << 60)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.wav", "old.wav", "to_nothing.wav"}
    assert (tmp_path / "old.wav").read_text() == "older"


def test_the_prompt_by_any_of_its_names(tmp_path, monkeypatch):
    source = tmp_path / "in.wav"
    source.write_text("sound")
    os.link(source, tmp_path / "hard.wav")
    (tmp_path / "soft.wav").symlink_to("in.wav")
    (tmp_path / "again").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    for name in ("in.wav", "./in.wav", "again/in.wav", "soft.wav", "hard.wav"):
        for out, own in ((at(name), source), (source, at(name)), (tmp_path / name, source)):
            with pytest.raises(InputError, match=rf"--out .*{name}|in.*is the prompt"):
                check_output_file(out, [at("other.wav"), own])
    with pytest.raises(InputError, match="is the prompt"):  # which is not there yet
        check_output_file(tmp_path / "x.wav", [at("again/x.wav")])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "is a folder"),
        ("to_folder", "is a folder"),
        ("no/where/a.wav", "there is no folder .*/no;"),
        ("file/a.wav", "cannot be written|is no folder"),
        ("file/a/b.wav", "cannot be written|no folder"),
        ("a" * 256 + ".wav", "File name too long"),
        ("é" * 128 + ".wav", "File name too long"),
        ("d/" * 3000 + "a.wav", "File name too long"),
        ("ring/a.wav", "symbolic links|is no folder"),
        ("ring", "symbolic links"),
        ("fifo.wav", "pipe or device"),
        ("/dev/null", "pipe or device"),
        ("/proc/a.wav", "cannot be written"),
        ("a\0b.wav", "zero byte"),
        ("/", "is a folder|names no file"),
        (".", "is a folder|names no file"),
    ],
)
def test_bad_places(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_folder").symlink_to("folder")
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    os.mkfifo(tmp_path / "fifo.wav")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"(?s)^--out .*({words})"):
        check_output_file(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_protected_files_and_folders(tmp_path, monkeypatch):
    (tmp_path / "a.wav").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(InputError, match="protected against writing"):
        check_output_file(tmp_path / "a.wav")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        check_output_folder(tmp_path / "a.wav")


def test_no_space(tmp_path):
    for check in (check_output_folder, lambda p, s: check_output_file(p / "a.wav", (), s)):
        with pytest.raises(InputError, match=r"1,000,000,000,000,000,000 bytes are needed"):
            check(tmp_path, 10**18)
