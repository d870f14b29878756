"""Folders and buckets by one kind of path."""

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from audiolm_jax.artifacts import local_copy as copies
from audiolm_jax.artifacts import storage
from audiolm_jax.artifacts.append import Appender
from audiolm_jax.artifacts.atomic import atomic_path, write_json, write_text
from audiolm_jax.artifacts.local_copy import Copies, local_copy
from audiolm_jax.artifacts.mirror import Mirror
from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.artifacts.storage import BucketPath, StorageError, at, files_below, move_tree
from audiolm_jax.errors import InputError


def test_an_address_is_a_path_by_name():
    path = at("gs://bucket/a/b c.wav")
    assert str(path) == "gs://bucket/a/b c.wav" == f"{path}"
    assert path == at("gs://bucket") / "a" / "b c.wav" == at(Path("gs://bucket/a/b c.wav"))
    assert (path.name, path.suffix, path.parent) == ("b c.wav", ".wav", at("gs://bucket/a/"))
    assert path.with_suffix(".codes") == at("gs://bucket/a/b c.codes")
    assert path.absolute() is path.resolve() is path
    assert str(path.relative_to(at("gs://bucket"))) == "a/b c.wav"
    assert pickle.loads(pickle.dumps(path)) == path
    assert isinstance(path, Path)
    for local in ("here/a", "/here/a", "a:b/c", "gs/b"):
        assert at(local) == Path(local)
        assert not isinstance(at(local), BucketPath)


@pytest.mark.parametrize("use", [os.fspath, open, os.stat, os.mkdir, Path.rename])
def test_an_address_is_never_a_file_of_this_machine(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="gs://bucket/a: not a file of this machine"):
        use(*[at("gs://bucket/a")] * (2 if use is Path.rename else 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://host/a", "http://host/a: http:// is not known; expected gs://, s3://, memory://"),
        ("gs://", "gs://: expected gs://BUCKET/NAME"),
        ("gs://bucket/a/../b", "gs://bucket/a/../b: expected gs://BUCKET/NAME, without .."),
    ],
)
def test_an_address_of_no_use_is_named(place, words):
    with pytest.raises(InputError, match=words):
        at(place)


def test_a_missing_driver_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    storage._driver.cache_clear()
    with pytest.raises(InputError, match=r"s3fs .*pip install 'audiolm_jax\[s3\]'"):
        at("s3://bucket/a").exists()


@pytest.mark.parametrize("fault", [PermissionError("403\nForbidden"), RuntimeError("no route")])
def test_whatever_a_driver_raises_is_one_line_with_the_address(monkeypatch, fault):
    class Driver:
        def __getattr__(self, name):
            def fail(*arguments, **options):
                raise fault

            return fail

    monkeypatch.setattr(storage, "_driver", lambda scheme: Driver())
    path = at("gs://bucket/a.json")
    for use in (
        path.exists, path.read_bytes, path.unlink, lambda: list(path.iterdir()),
        lambda: write_json(path, {}), lambda: files_below(path), lambda: path.create(b""),
    ):  # fmt: skip
        with pytest.raises(
            StorageError, match=r"^gs://bucket/a\.json: cannot be .*\(.+\)$"
        ) as told:
            use()
        assert isinstance(told.value, InputError)
        assert isinstance(told.value, OSError)
        assert "\n" not in str(told.value)


def test_objects_come_and_go(bucket):
    path = bucket / "a" / "b.txt"
    assert not path.exists()
    assert not list((bucket / "a").iterdir())
    with pytest.raises(FileNotFoundError):
        path.stat()
    write_text(path, "grün\n")
    assert (path.is_file(), path.is_dir()) == (True, False)
    assert (path.parent.is_file(), path.parent.is_dir()) == (False, True)
    assert path.read_text() == "grün\n"
    assert path.stat().st_size == 6
    assert abs(path.stat().st_mtime_ns - time.time_ns()) < 60 * 10**9
    (bucket / "c").write_bytes(bytes(range(256)))
    assert (bucket / "c").read_ranges([(3, 5), (250, 256)]) == [b"\3\4", bytes(range(250, 256))]
    assert sorted(files_below(bucket)) == ["a/b.txt", "c"]
    assert [x.name for x in bucket.iterdir()] == ["a", "c"]
    assert [x.name for x in (bucket / "a").glob("*.txt")] == ["b.txt"]
    with pytest.raises(FileExistsError):
        path.create(b"")
    with pytest.raises(ValueError, match="write through atomic_path"):
        path.open("w")
    move_tree(bucket / "a", bucket / "d")
    assert sorted(files_below(bucket)) == ["c", "d/b.txt"]
    (bucket / "c").unlink()
    with pytest.raises(FileNotFoundError):
        (bucket / "c").unlink()
    (bucket / "c").unlink(missing_ok=True)


def test_a_file_is_replaced_whole_or_not_at_all(bucket):
    path = bucket / "x.bin"
    path.write_bytes(b"old")

    def fail():
        with atomic_path(path) as scratch:
            scratch.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    with atomic_path(path) as scratch:
        scratch.write_bytes(b"new")
    assert path.read_bytes() == b"new"


class Killed(BaseException):
    pass


def test_a_killed_write_of_a_folder_leaves_nothing_that_looks_whole(bucket, monkeypatch):
    """Stopped before each request in turn, over nothing and over another model."""
    monkeypatch.setattr(storage, "each", lambda do, items: [do(item) for item in items])
    real = {name: getattr(BucketPath, name) for name in ("put", "unlink")}
    save = functools.partial(save_model, kind="toy", config={}, provenance={})
    prints = {save(bucket / "probe", arrays={"w": np.full(3, i)}): i for i in range(2)}
    for has_old in (False, True):
        for allowed in range(5):
            place = bucket / f"{has_old}{allowed}"
            if has_old:
                save(place, arrays={"w": np.full(3, 0)})
            left = [allowed]

            def stopped(function, left=left):
                def request(*arguments, **options):
                    if not left[0]:
                        raise Killed
                    left[0] -= 1
                    return function(*arguments, **options)

                return request

            with monkeypatch.context() as patches, contextlib.suppress(Killed):
                for name, function in real.items():
                    patches.setattr(BucketPath, name, stopped(function))
                save(place, arrays={"w": np.full(3, 1)})
            if (place / "model.json").exists():
                is_done = allowed >= (4 if has_old else 2)
                assert prints[load_model(place).fingerprint] == is_done
                assert is_done or (has_old and not allowed)
            else:
                with pytest.raises(InputError, match="not found"):
                    load_model(place)
            save(place, arrays={"w": np.full(3, 1)})
            assert prints[load_model(place).fingerprint] == 1


def test_copies_are_bounded_shared_and_stay_while_they_are_read(bucket, tmp_path):
    names = [f"{i}.wav" for i in range(12)]
    for i, name in enumerate(names):
        (bucket / name).write_bytes(bytes([i]) * 1000)
    kept, most = Copies(tmp_path, 3500), []

    def read(name):
        with kept.held(bucket / name) as copy:
            assert copy.suffix == ".wav"
            assert copy.stat().st_mtime_ns == (bucket / name).stat().st_mtime_ns
            assert copy.read_bytes() == bytes([int(copy.read_bytes()[0])]) * 1000
            assert copy.read_bytes()[0] == int(name.partition(".")[0])
            time.sleep(0.001)
            most.append(len(list(tmp_path.iterdir())))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, np.random.default_rng(0).choice(names, 200)))
    assert len(list(tmp_path.iterdir())) == 3
    assert max(most) <= 3 + 4 + 1
    with kept.held(bucket / names[0]) as copy:
        for name in names[1:]:
            read(name)
        assert copy.read_bytes() == bytes(1000)
    with pytest.raises(FileNotFoundError), kept.held(bucket / "none"):
        pass


def test_a_copy_is_fetched_once_or_anew(bucket):
    path = bucket / "a.bin"
    path.write_bytes(b"one")
    with local_copy(path, is_kept=True) as copy:
        assert copy.read_bytes() == b"one"
    path.write_bytes(b"three")
    for is_kept, found in ((True, b"one"), (False, b"three")):
        with local_copy(path, is_kept) as copy:
            assert copy.read_bytes() == found
    copies.forget(path)
    with local_copy(path, is_kept=True) as copy:
        assert copy.read_bytes() == b"three"


SCRATCH = """
import os, signal
from audiolm_jax.artifacts.local_copy import scratch_folder
with scratch_folder() as folder:
    (folder / "x").write_text("x")
    print(folder, flush=True)
    os.kill(os.getpid(), {signal})
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path):
    environment = os.environ | {"AUDIOLM_SCRATCH": str(tmp_path)}

    def run(number):
        command = [sys.executable, "-c", SCRATCH.format(signal=int(number))]
        return subprocess.run(command, env=environment, capture_output=True, check=False)

    assert run(signal.SIGKILL).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert run(0).returncode == 0
    assert not left.exists()
    assert not list(tmp_path.iterdir())


def test_lines_are_appended_here_and_there_alike(bucket, tmp_path):
    for folder in (bucket, tmp_path):
        for start in range(2):
            lines = Appender(folder / "m.jsonl")
            lines.write(f"{start} a\n")
            lines.write(f"{start} b\n")
            lines.sync()
            assert (folder / "m.jsonl").read_text().endswith(f"{start} b\n")
            lines.write(f"{start} c\n")
            lines.close()
        assert (folder / "m.jsonl").read_text() == "0 a\n0 b\n0 c\n1 a\n1 b\n1 c\n"
    Appender(None).write("to nobody")


def test_lines_appear_in_a_bucket_now_and_then(bucket, monkeypatch):
    monkeypatch.setattr("audiolm_jax.artifacts.append.SECONDS", 0.0)
    lines = Appender(bucket / "m.jsonl")
    lines.write("a\n")
    assert (bucket / "m.jsonl").read_text() == "a\n"


def test_a_mirror_sends_what_has_changed(bucket, monkeypatch):
    sent, put = [], BucketPath.put
    monkeypatch.setattr(BucketPath, "put", lambda self, x: sent.append(self.name) or put(self, x))
    (bucket / "old").write_bytes(b"")
    with Mirror(bucket) as mirror:
        (mirror.folder / "a").write_text("1")
        mirror.send()
        mirror.send()
        (mirror.folder / "b").write_text("2")
    assert sent == ["a", "b"]
    assert sorted(files_below(bucket)) == ["a", "b", "old"]
    assert not mirror.folder.exists()


def test_threads_that_come_first_share_one_folder(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOLM_SCRATCH", str(tmp_path))
    monkeypatch.setattr(copies, "_made_copies", functools.cache(copies._made_copies.__wrapped__))
    monkeypatch.setattr(copies, "_made_folder", functools.cache(copies._made_folder.__wrapped__))
    (bucket / "a").write_bytes(b"a")
    barrier = threading.Barrier(8)

    def read(_):
        barrier.wait()
        with local_copy(bucket / "a", is_kept=True) as copy:
            return copy

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(8)))) == 1
    assert len(list(tmp_path.iterdir())) == 1
