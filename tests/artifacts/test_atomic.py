"""What is written appears whole or not at all."""

import pytest

from audiolm_jax.artifacts.atomic import atomic_path, remove_leftovers, write_json, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "x.json"
    write_json(path, {"b": 1, "a": [2]})
    assert path.read_text() == '{\n "b": 1,\n "a": [\n  2\n ]\n}\n'
    write_text(path, "ü")
    assert path.read_bytes() == "ü".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_failure_leaves_the_old_one(tmp_path, is_folder):
    path = tmp_path / "x"

    def write(scratch, text):
        if is_folder:
            scratch.mkdir()
            (scratch / "inner").write_text(text)
        else:
            scratch.write_text(text)

    with atomic_path(path) as scratch:
        write(scratch, "old")

    def fail():
        with atomic_path(path) as scratch:
            write(scratch, "new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "inner" if is_folder else path).read_text() == "old"
    with atomic_path(path) as scratch:
        write(scratch, "newer")
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "inner" if is_folder else path).read_text() == "newer"


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    with atomic_path(tmp_path / "x") as first, atomic_path(tmp_path / "x") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "x").read_text() == "1"


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "\U0001f3b5" * 62 + ".wav"], ids=len)
def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path, name):
    write_text(tmp_path / name, "x")
    (tmp_path / name).unlink()
    with atomic_path(tmp_path / name) as scratch:
        assert scratch.suffix == (tmp_path / name).suffix
        scratch.mkdir()
    with atomic_path(tmp_path / name) as scratch:
        scratch.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    left = {}
    for name in ("a.json", "b.json", "x.a.json", 50 * "long" + ".json"):
        with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / name) as scratch:
            raise KeyboardInterrupt
        left[name] = scratch
    others = [tmp_path / name for name in (".a.json.lock", "a.json", *left)]
    for path in (*left.values(), *others):
        path.write_bytes(b"x")  # as of processes that could not clean up
    written = ["a.json", 50 * "long" + ".json"]
    remove_leftovers(*(tmp_path / name for name in written), tmp_path / "none" / "a.json")
    stays = {*others, *(path for name, path in left.items() if name not in written)}
    assert set(tmp_path.iterdir()) == stays
