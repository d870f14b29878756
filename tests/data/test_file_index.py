"""The index on disk: nothing is decoded twice, nothing that changed is taken for what it was."""

import errno
import os
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.data import file_facts, file_index
from audiolm_jax.data import index as index_module
from audiolm_jax.data.audit import audit
from audiolm_jax.data.file_index import INDEX_FOLDER
from audiolm_jax.data.index import index_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError


def sound(path, seconds=0.5, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
    write_wav(path, noise, 16000, None)


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        sound(tmp_path / "audio" / f"s{number % 2}" / f"{number}.wav", seed=number)
    age(tmp_path / "audio")
    return tmp_path / "audio"


def age(folder):
    """As if all had been there for long: what changed just now is looked at again."""
    then = time.time() - 3600
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            os.utime(path, (then, then))


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that are decoded from now on."""
    names, file = [], file_facts._file
    monkeypatch.setattr(file_facts, "_file", lambda root, n: names.append(n) or file(root, n))
    return names


def config(folder, **rules):
    return AudioDataConfig(str(folder), **{"heldout_percent": 30, **rules})


def fresh(folder, tmp_path, **rules):
    """The same folder without a past."""
    place = tmp_path / f"fresh_{time.monotonic_ns()}"
    index = index_folder(config(folder, **rules, index=str(place)))
    shutil.rmtree(place)
    return index


def same(one, two):
    return one.fingerprint == two.fingerprint and (one.clips, one.bad) == (two.clips, two.bad)


def test_what_is_known_is_not_decoded_again(folder, decoded, tmp_path):
    before = index_folder(config(folder))
    assert len(decoded) == 6
    age(folder)
    assert same(index_folder(config(folder)), before)
    other = index_folder(config(folder, max_seconds=0.7, min_seconds=0.1, split_by="speaker"))
    assert len(other.clips) == 6
    assert len(decoded) == 6
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert same(index_folder(config(moved)), before)
    shutil.copytree(moved, folder)  # with times
    assert same(index_folder(config(folder)), before)
    assert len(decoded) == 6


def test_it_is_opened_without_looking_at_the_files(folder, monkeypatch):
    index_folder(config(folder))
    age(folder)
    index_folder(config(folder))
    monkeypatch.setattr(file_index, "walk", None)
    assert len(index_folder(config(folder)).clips) == 6


def test_any_changes_give_what_a_fresh_look_gives(folder, decoded, tmp_path):
    """Files come, go, change and are renamed; lists of metadata come and change."""
    rng = np.random.default_rng(0)
    expected, rules = 0, {"split_by": "speaker"}
    index_folder(config(folder, **rules))
    for turn in range(12):
        age(folder)
        index_folder(config(folder, **rules))
        files = sorted(folder.rglob("*.wav"))
        chosen = files[rng.integers(len(files))]
        decoded.clear()
        match turn % 6:
            case 0:
                sound(folder / f"s{rng.integers(3)}" / f"new{turn}.wav", seed=100 + turn)
                expected = 1
            case 1:
                chosen.unlink()
                expected = 0
            case 2:
                chosen.rename(chosen.with_name(f"renamed{turn}.wav"))
                expected = 1
            case 3:
                (folder / "metadata.tsv").write_text(
                    f"path\tspeaker\n{chosen.relative_to(folder)}\tx{turn}\n"
                )
                expected = 0
            case 4:
                sound(chosen, 0.4, seed=200 + turn)
                expected = 1
            case 5:
                chosen.write_text("no sound")
                os.utime(folder)  # as an editor does that replaces it
                expected = 1
        index = index_folder(config(folder, **rules))
        assert len(decoded) == expected, turn
        assert same(index, fresh(folder, tmp_path, **rules)), turn


def test_a_file_changed_in_its_place_is_noticed_when_it_is_read(folder, decoded):
    index_folder(config(folder))
    age(folder)
    index = index_folder(config(folder))
    path = folder / index.clips[0].path
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    times = [(d, os.stat(d)) for d in (folder, path.parent)]
    path.write_bytes(content)
    for place, status in times:
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=r"0\.wav: the file changed since it was indexed; start"):
        index_folder(config(folder)).load(index.clips[0])
    decoded.clear()
    assert audit(config(folder)).index.fingerprint != index.fingerprint
    assert len(decoded) == 1


def test_what_was_decoded_survives_a_stop(folder, decoded, monkeypatch):
    monkeypatch.setattr(file_facts, "_FILES_A_THREAD", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    file = file_facts._file

    def stop(root, name):
        if len(decoded) == 3:
            raise KeyboardInterrupt
        return file(root, name)

    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "_file", stop)
        with pytest.raises(KeyboardInterrupt):
            index_folder(config(folder))
    assert len(decoded) == 3
    index_folder(config(folder))
    assert len(decoded) == 6
    assert [path.name for path in (folder / INDEX_FOLDER).iterdir()] == ["files.arrow"]


def test_workers_share_the_files(folder, decoded, capsys, tmp_path):
    for worker in range(4):
        assert main(["index", str(folder), "--worker", f"{worker}/4"]) == 0
    assert len(decoded) == 6
    assert main(["index", str(folder)]) == 0
    assert len(decoded) == 6
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(f"{INDEX_FOLDER}: 6 recordings, 0.00 h; 0 bad, audiolm audit names them")
    assert same(index_folder(config(folder)), fresh(folder, tmp_path))
    for words in ("4/4", "1", "x/2"):
        assert main(["index", str(folder), "--worker", words]) == 2
        assert "--worker" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "version"])
def test_a_damaged_index_is_made_anew(folder, decoded, damage, monkeypatch, caplog):
    before = index_folder(config(folder))
    path = folder / INDEX_FOLDER / "files.arrow"
    content = path.read_bytes()
    if damage == "version":
        monkeypatch.setattr(file_facts, "_FORMAT", b"2")
    else:
        path.write_bytes(
            {"empty": b"", "text": b"none", "cut": content[: len(content) // 2]}[damage]
        )
    assert same(index_folder(config(folder)), before)
    assert len(decoded) == 12
    assert "files.arrow" in caplog.text
    assert "made anew" in caplog.text


def test_where_no_index_can_be_kept_it_is_said(folder, decoded, monkeypatch, caplog, tmp_path):
    def refuse(path):
        if path.name == "files.arrow":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return atomic_path(path)

    monkeypatch.setattr(file_index, "atomic_path", refuse)
    for turn in (1, 2):
        assert len(index_folder(config(folder)).clips) == 6
        assert len(decoded) == 6 * turn
    assert "cannot be written (Read-only file system)" in caplog.text
    assert "--data.index" in caplog.text
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--data.index = .*cannot be written"):
        index_folder(config(folder, index=str(tmp_path / "file" / "index")))


def test_excluded_files_are_decoded_when_they_are_asked_for(folder, decoded):
    rules = {"exclude": ("s1/*",)}
    index = index_folder(config(folder, **rules))
    assert len(decoded) == 3
    assert {bad.reason for bad in index.bad} == {"left out: --data.exclude has 's1/*'"}
    age(folder)
    assert len(index_folder(config(folder)).clips) == 6
    assert len(decoded) == 6
    age(folder)
    assert same(index_folder(config(folder, **rules)), index)
    assert len(decoded) == 6


def test_what_comes_within_one_tick_of_the_clock_is_seen(folder):
    sound(folder / "6.wav", seed=6)
    index_folder(config(folder))
    changed = os.stat(folder)
    assert len(index_folder(config(folder)).clips) == 7
    sound(folder / "7.wav", seed=7)
    os.utime(folder, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert len(index_folder(config(folder)).clips) == 8


def test_fingerprints_of_many_clips_are_remembered(folder, monkeypatch):
    expected = index_folder(config(folder)).fingerprint
    monkeypatch.setattr(index_module, "_WORTH_REMEMBERING", 1)
    assert index_folder(config(folder)).fingerprint == expected
    with monkeypatch.context() as patch:
        patch.setattr(index_module.ClipIndex, "_fingerprint", None)
        age(folder)
        index_folder(config(folder))
        with pytest.raises(TypeError):  # another writing of the index
            _ = index_folder(config(folder)).fingerprint
    assert index_folder(config(folder)).fingerprint == expected
    monkeypatch.setattr(index_module.ClipIndex, "_fingerprint", None)
    assert index_folder(config(folder)).fingerprint == expected
    with pytest.raises(TypeError):
        _ = index_folder(config(folder, heldout_percent=31)).fingerprint


def test_an_index_that_holds_is_left_as_it_is(folder, monkeypatch):
    index_folder(config(folder))
    age(folder)
    audit(config(folder))
    before = (folder / INDEX_FOLDER / "files.arrow").read_bytes()
    audit(config(folder))
    index_folder(config(folder), looks_at_all=True)
    assert (folder / INDEX_FOLDER / "files.arrow").read_bytes() == before


def test_damaged_notes_beside_an_index_are_written_anew(folder, monkeypatch):
    monkeypatch.setattr(index_module, "_WORTH_REMEMBERING", 1)
    expected = index_folder(config(folder)).fingerprint
    notes = folder / INDEX_FOLDER / "remembered.json"
    for words in ("", "[]", '{"stamp": 1}', '{"stamp": null, "values": 3}'):
        notes.write_text(words)
        assert index_folder(config(folder)).fingerprint == expected
    assert expected in notes.read_text()


def test_a_damaged_part_is_named_and_decoded_again(folder, decoded, caplog):
    assert main(["index", str(folder), "--worker", "0/2"]) == 0
    (part,) = (folder / INDEX_FOLDER / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    assert len(index_folder(config(folder)).clips) == 6
    assert len(decoded) == 3 + 6
    assert part.name in caplog.text


def test_columns_are_freed_one_by_one_and_codes_are_narrow(tmp_path):
    """Of a table read as a whole nothing is freed, and millions of rows cost twice as much."""
    rows, schema = 1 << 17, file_index.with_about(file_index.about_of((), (), (), ()))
    empty = {"int64": 0, "int32": 0, "int16": 0, "double": 0.0, "list<item: string>": []}
    columns = [pa.array([empty.get(str(f.type), "")] * rows, f.type)
               if f.name != "sha256" else pa.array([bytes(32)] * rows, f.type)
               for f in schema]  # fmt: skip
    file_facts.write_table(tmp_path / "t.arrow", pa.table(columns, schema=schema))
    del columns
    before = pa.total_allocated_bytes()
    files = file_index.opened_table(file_facts.read_table(tmp_path / "t.arrow"))
    whole = pa.total_allocated_bytes() - before
    files = files.without("sha256", "energy")
    assert whole - (pa.total_allocated_bytes() - before) >= (32 + 8) * rows
    codes, words = files.words("speaker")
    assert (codes.dtype, words) == (np.int8, [""])


@pytest.mark.parametrize("most", [0, 127, 128, 32767, 32768, 2**31 - 1, 2**31, 2**62])
@pytest.mark.parametrize("smallest", [np.int8, np.int32])
def test_narrow_numbers_stay_the_same(most, smallest):
    for numbers in (np.array([0, most]), np.array([-most - 1, 5]), np.array([], np.int64)):
        found = file_index.narrow(numbers, smallest)
        assert found.tolist() == numbers.tolist()
        sizes = range(np.dtype(smallest).itemsize, found.itemsize)
        narrower = [x for x in (np.int8, np.int16, np.int32) if np.dtype(x).itemsize in sizes]
        assert not any((numbers.astype(x) == numbers).all() for x in narrower)
