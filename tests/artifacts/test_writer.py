"""One writer at a time, whatever the lock of the folder is worth."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from audiolm_jax.artifacts import writer
from audiolm_jax.artifacts.storage import files_below
from audiolm_jax.artifacts.writer import lock_file, only_writer
from audiolm_jax.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from audiolm_jax.artifacts.writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TAKEN = "another process"


@pytest.fixture
def held(tmp_path):
    """An output that another process writes."""
    out = tmp_path / "new" / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield out, process
        process.kill()


def test_the_second_is_refused_at_once_by_any_name_and_a_killed_one_leaves_the_way(
    held, monkeypatch
):
    out, process = held
    monkeypatch.chdir(out.parent)
    for name in (out, out.relative_to(out.parent)):
        start = time.monotonic()
        with pytest.raises(InputError, match=rf"{TAKEN} \({process.pid} on .*write elsewhere"):
            only_writer(name).__enter__()
        assert time.monotonic() - start < 1
    with only_writer(out.parent / "other"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with only_writer(out):
        pass
    assert not list(out.iterdir())
    with only_writer(out / "unwritten"):
        pass
    assert not (out / "unwritten").exists()


def test_what_is_replaced_has_its_lock_beside_it(tmp_path):
    out = tmp_path / "model"
    with only_writer(out, is_replaced=True):
        assert not out.exists()
        with pytest.raises(InputError, match=TAKEN):
            only_writer(out, is_replaced=True).__enter__()
        with only_writer(tmp_path / "other", is_replaced=True):
            pass
    assert not list(tmp_path.iterdir())


def leave(out, machine):
    out.mkdir()
    lock_file(out).write_text(json.dumps({"machine": machine, "host": "far", "pid": 7}))


def test_a_writer_on_another_machine_counts_while_it_is_fresh(tmp_path):
    out = tmp_path / "out"
    leave(out, "another kernel")
    with pytest.raises(InputError, match=rf"{TAKEN} \(7 on far\)"):
        only_writer(out).__enter__()
    assert lock_file(out).is_file()
    old = time.time() - writer.FRESH_SECONDS - 5
    os.utime(lock_file(out), (old, old))
    with only_writer(out):
        assert json.loads(lock_file(out).read_text())["pid"] == os.getpid()


def test_a_folder_without_locks_goes_by_freshness_alone(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    out = tmp_path / "out"
    with only_writer(out), pytest.raises(InputError, match=TAKEN):
        only_writer(out).__enter__()
    with only_writer(out):
        pass


def test_a_writer_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "BEAT_SECONDS", 0.01)
    out = tmp_path / "out"
    with only_writer(out):
        os.utime(lock_file(out), (1, 1))
        end = time.monotonic() + 5
        while lock_file(out).stat().st_mtime == 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert lock_file(out).stat().st_mtime > 1


def test_a_place_that_takes_no_files_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out: cannot be written \(.*choose another place"):
        only_writer(tmp_path / "file" / "out").__enter__()


def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path):
    path, other = tmp_path / ("n" * 251 + ".wav"), tmp_path / ("n" * 250 + "m.wav")
    with only_writer(path, is_replaced=True):
        with only_writer(other, is_replaced=True):
            pass
        with pytest.raises(InputError, match=TAKEN), only_writer(path, is_replaced=True):
            pass
    assert not list(tmp_path.iterdir())


def other(place, **fields):
    own = {"machine": writer._machine(), "host": "far", "pid": 7, **writer._process(), "id": "x"}
    place.write_bytes(json.dumps(own | fields).encode())


def test_in_a_bucket_the_second_is_refused_and_nothing_is_left(bucket):
    with only_writer(bucket / "out"):
        with pytest.raises(InputError, match=rf"{TAKEN} \({os.getpid()} on .*write elsewhere"):
            only_writer(bucket / "out").__enter__()
        with only_writer(bucket / "out", is_replaced=True), only_writer(bucket / "other"):
            assert len(files_below(bucket)) == 3
    with only_writer(bucket / "out"):
        pass
    assert not files_below(bucket)


@pytest.mark.parametrize("fields", [{"machine": "another kernel"}, {"space": "pid:[1]"}])
def test_in_a_bucket_a_writer_elsewhere_counts_while_it_is_fresh(bucket, monkeypatch, fields):
    monkeypatch.setattr(writer, "SETTLE_SECONDS", 0.0)
    other(lock_file(bucket), **fields)
    with pytest.raises(InputError, match=rf"{TAKEN} \(7 on far\)"):
        only_writer(bucket).__enter__()
    monkeypatch.setattr(writer, "FRESH_SECONDS", 0.0)
    with only_writer(bucket):
        assert json.loads(lock_file(bucket).read_text())["pid"] == os.getpid()
    assert not files_below(bucket)


def test_in_a_bucket_a_writer_of_this_machine_that_has_ended_does_not_count(bucket, monkeypatch):
    """Nor one whose number another process has now."""
    monkeypatch.setattr(writer, "SETTLE_SECONDS", 0.0)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    for pid, since in ((process.pid, "1"), (os.getpid(), "1")):
        other(lock_file(bucket), pid=pid, since=since)
        with only_writer(bucket):
            pass
    other(lock_file(bucket), pid=os.getpid())
    with pytest.raises(InputError, match=TAKEN):
        only_writer(bucket).__enter__()


@pytest.mark.parametrize("is_stale", [False, True])
def test_in_a_bucket_of_many_at_once_one_writes(bucket, monkeypatch, is_stale):
    monkeypatch.setattr(writer, "SETTLE_SECONDS", 0.3)
    if is_stale:
        other(lock_file(bucket), pid=1 << 30)
    barrier, held = threading.Barrier(6), []

    def compete(number):
        barrier.wait()
        with contextlib.suppress(InputError), only_writer(bucket):
            held.append(number)
            time.sleep(0.5)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(compete, range(6)))
    assert len(held) == 1
    assert not files_below(bucket)


def test_in_a_bucket_a_writer_shows_that_it_lives_and_notices_another(bucket, monkeypatch, caplog):
    monkeypatch.setattr(writer, "BEAT_SECONDS", 0.01)

    def until(condition):
        end = time.monotonic() + 10
        while not condition() and time.monotonic() < end:
            time.sleep(0.01)
        return condition()

    place = lock_file(bucket)
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_writer(bucket))
        first = place.stat().st_mtime_ns
        assert until(lambda: place.stat().st_mtime_ns > first)
        other(place, machine="another kernel")
        assert until(lambda: "another process writes here since" in caplog.text)
        with pytest.raises(InputError, match="another process writes here since"):
            stack.close()
    assert json.loads(place.read_text())["host"] == "far"
