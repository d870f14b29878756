"""Where there is no Linux: locks, full disks and a continuation without what Windows and macOS
lack. The real systems are not at hand; what they lack is taken away."""

import errno
import subprocess
import sys

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav

BEGIN = "from support.other_system import become_windows; become_windows()\n"


def run(code, cwd):
    """A Python process of such a system."""
    paths = [path for path in sys.path if path]
    begin = f"import sys; sys.path[:0] = {paths!r}\n{BEGIN}"
    return subprocess.run(
        [sys.executable, "-c", begin + code], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompt") / "p.wav"
    write_wav(path, 0.1 * np.sin(np.arange(16_000) * 0.05).astype(np.float32), 16_000, None)
    return path


def test_a_continuation_is_the_same(tiny_bundle, prompt, tmp_path):
    words = ["continue", str(prompt), "--models", str(tiny_bundle), "--seconds", "0.4"]
    words += ["--generation.context-seconds", "1", "--out"]
    code = f"from audiolm_jax.cli.main import main\nsys.exit(main({[*words, 'there.wav']!r}))"
    there = run(code, tmp_path)
    assert there.returncode == 0, there.stderr
    from audiolm_jax.cli.main import main

    assert main([*words, str(tmp_path / "here.wav")]) == 0
    assert (tmp_path / "there.wav").read_bytes() == (tmp_path / "here.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.wav", "there.wav"]


def test_one_writer_at_a_time(tmp_path):
    code = """
from pathlib import Path
from audiolm_jax.artifacts.writer import TakenError, only_writer
for is_replaced in (False, True):
    with only_writer(Path("out"), is_replaced):
        try:
            with only_writer(Path("out"), is_replaced):
                raise AssertionError("two at once")
        except TakenError as error:
            print(error)
    with only_writer(Path("out"), is_replaced):  # its lock is over
        pass
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("another process") == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_is_named(tmp_path):
    code = """
from pathlib import Path
from audiolm_jax.artifacts.disk_space import ask_disk
try:
    with ask_disk(Path("."), 1 << 60):
        raise ValueError("a library's own")
except OSError as error:
    print(error.errno)
try:
    with ask_disk(Path("."), 1):
        raise ValueError("a library's own")
except ValueError:
    print("not full")
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [str(errno.ENOSPC), "not full"]
