"""Archives from strangers."""

import io
import stat
import zipfile

import numpy as np
import pytest

from audiolm_jax.artifacts.archive import pack, unpacked
from audiolm_jax.errors import InputError


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def test_what_is_packed_comes_back_and_is_gone_after(tmp_path):
    (tmp_path / "a/deep").mkdir(parents=True)
    (tmp_path / "a/x.json").write_text("{}")
    (tmp_path / "a/deep/é.bin").write_bytes(bytes(range(256)) * 9)
    pack(tmp_path / "a", tmp_path / "a.zip")
    first = (tmp_path / "a.zip").read_bytes()
    with unpacked(tmp_path / "a.zip", "x.json") as folder:
        assert (folder / "deep/é.bin").read_bytes() == bytes(range(256)) * 9
    assert not folder.exists()
    pack(tmp_path / "a", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == first


def test_the_highest_folder_of_the_first_name_is_taken(tmp_path):
    names = ["a/b/model.json", "a/model.json", "a/b/c/bundle.json"]
    path = zipped(tmp_path / "a.zip", [(name, name) for name in names])
    with unpacked(path, "bundle.json", "model.json") as folder:
        assert (folder / "bundle.json").read_text() == names[2]
    with unpacked(path, "model.json") as folder:
        assert (folder / "model.json").read_text() == names[1]
    words = r"a\.zip: holds no x or y \(bundle\.json, model\.json\)"
    with pytest.raises(InputError, match=words), unpacked(path, "x", "y"):
        pass


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("../x.json", "")], "elsewhere"),
        ([("a/../../x.json", "")], "elsewhere"),
        ([("/tmp/x.json", "")], "elsewhere"),
        ([("x.json", ""), ("a\\..\\b", "")], "elsewhere"),
        ([("x.json", ""), (link("b"), "/etc/passwd")], "elsewhere"),
        ([("x.json", "1"), ("x.json", "2")], "twice"),
        ([("x.json/y", ""), ("a/x.json", "")], None),
        ([("y.json", "")], "holds no x.json"),
        ([], "holds no x.json"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_is_written_outside(tmp_path, entries, words):
    path = zipped(tmp_path / "a.zip", entries)
    if words is None:
        with unpacked(path, "x.json"):
            return
    with pytest.raises(InputError, match=rf"a\.zip: .*{words}"), unpacked(path, "x.json"):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_more_than_there_is_space_for(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [("x.json", "0" * 1000)])
    usage = type("Usage", (), {"free": 999})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match="AUDIOLM_SCRATCH"), unpacked(path, "x.json"):
        pass


def test_no_damage_is_a_traceback(tmp_path):
    """Cut anywhere, any byte changed: it is refused in one line, or nothing was changed."""
    rng = np.random.default_rng(0)
    data = io.BytesIO()
    sound = {"a/x.json": b"{}", "a/w.bin": rng.bytes(400), "a/t.txt": b"text " * 99}
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sound.items():
            archive.writestr(name, content)
    whole, path, said = data.getvalue(), tmp_path / "a.zip", []
    for turn in range(150):
        bad = bytearray(whole)
        if turn % 4 == 0:
            bad = bad[: rng.integers(len(bad))]
        else:
            for _ in range(rng.integers(1, 4)):
                bad[rng.integers(len(bad))] = rng.integers(256)
        path.write_bytes(bad)
        try:
            with unpacked(path, "x.json") as folder:
                for file in folder.iterdir():
                    assert file.read_bytes() in sound.values()
        except InputError as error:
            said.append(str(error))
    assert len(said) > 70
    assert all(line.startswith(str(path)) and "\n" not in line for line in said)
    for missing in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(InputError), unpacked(missing, "x.json"):
            pass
