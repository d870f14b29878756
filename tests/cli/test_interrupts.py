"""Ctrl-C to real processes in the middle of their work: one line, status 130, at once, nothing
half-written, and the same command does it all afterwards."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.tiny_models import voice
from support.tiny_runs import write_configs

from audiolm_jax.audio.files import write_wav

ROOT = Path(__file__).parents[2]
# On a busy machine; each takes a fraction of a second on an idle one.
MOST_SECONDS = 10
SLOW = """
import pathlib, time
from audiolm_jax.data.index import ClipIndex
load = ClipIndex.load

def slowly(self, clip):
    pathlib.Path({marker!r}).touch()
    time.sleep(60)
    return load(self, clip)

if pathlib.Path({switch!r}).exists():
    ClipIndex.load = slowly
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of 40 recordings, and one of each a hundred times."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "many").mkdir()
    for number in range(40):
        path = folder / "few" / f"{number}.wav"
        write_wav(path, np.tile(voice(2, 80 + number, number), 5), 16000, None)
        for copy in range(100):
            os.link(path, folder / "many" / f"{number}_{copy}.wav")
    return folder


def start(place, *words):
    """The program, what it says going to files in `place`."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "audiolm_jax", *map(str, words)]
    with (place / "out").open("w") as out, (place / "err").open("w") as err:
        # A shell's background jobs ignore Ctrl-C, and so do their children.
        attended = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
        return subprocess.Popen(
            command, stdout=out, stderr=err, env=environment, preexec_fn=attended
        )


def stop(place, process, is_at_work, name):
    """Sends Ctrl-C once it is at work; returns what it said after that."""
    deadline = time.monotonic() + 300
    while not is_at_work():
        assert process.poll() is None, (place / "err").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    assert process.poll() is None
    before, began = read(place), time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        status = process.wait(timeout=90)
    finally:
        process.kill()
    seconds = time.monotonic() - began
    print(f"{name}: {seconds:.2f} s from Ctrl-C to the end")
    said = "".join(now[len(old) :] for now, old in zip(read(place), before, strict=True))
    assert status == 130, said
    assert seconds < MOST_SECONDS
    return said


def read(place):
    return (place / "out").read_text(), (place / "err").read_text()


def opens(process, folder):
    """Whether a process has a file of a folder open."""
    links = list(Path(f"/proc/{process.pid}/fd").iterdir())
    for link in links:
        try:
            if os.readlink(link).startswith(f"{folder}/"):
                return True
        except FileNotFoundError:
            pass
    return False


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def again(place, *words):
    process = start(place, *words)
    assert process.wait(timeout=600) == 0, (place / "err").read_text()
    return (place / "out").read_text()


@pytest.mark.slow
def test_an_audit(recordings, tmp_path):
    words = ["audit", recordings / "many"]
    process = start(tmp_path, *words)
    said = stop(tmp_path, process, lambda: opens(process, recordings / "many"), "audit")
    assert said == "audiolm audit: stopped, run again to go on\n"
    assert "good files" not in (tmp_path / "out").read_text()
    assert "4000 good files, 0 bad" in again(tmp_path, *words)


@pytest.mark.slow
def test_training_that_waits_for_recordings(recordings, tmp_path):
    """A loader that takes a minute for each, as a network folder may."""
    configs = write_configs(tmp_path, recordings / "few", steps=4)
    marker, switch, run = tmp_path / "loading", tmp_path / "slow", tmp_path / "runs/codec"
    config = configs["codec"]
    config.write_text(config.read_text() + SLOW.format(marker=str(marker), switch=str(switch)))
    switch.touch()
    process = start(tmp_path, "train", config)
    at_work = lambda: marker.exists() and "parameters" in "".join(read(tmp_path))  # noqa: E731
    said = stop(tmp_path, process, at_work, "train")
    assert said == f"{run}: stopped, saved at step 0; run again to go on\n"
    assert not (run / ".lock").exists()
    switch.unlink()
    again(tmp_path, "train", config)
    assert (run / "model/model.json").is_file()


@pytest.mark.slow
def test_tokenizing(recordings, tiny_bundle, tmp_path):
    parts, tokens = tiny_bundle.parent / "parts", tmp_path / "runs/tokens"
    config = write_configs(tmp_path, recordings / "few")["tokens"]
    words = ["tokenize", config, "--codec", parts / "codec", "--semantic", parts / "semantic"]
    process = start(tmp_path, *words)
    said = stop(tmp_path, process, lambda: any(tokens.glob(".*array_record*")), "tokenize")
    assert said == "audiolm tokenize: stopped, run again to go on\n"
    assert not [name for name in files(tokens) if "MANIFEST" in name or name == ".lock"]
    again(tmp_path, *words)
    assert not [name for name in files(tokens) if name.startswith(".")]


@pytest.mark.slow
def test_a_folder_of_codes(recordings, tiny_bundle, tmp_path):
    out = tmp_path / "codes"
    words = ["codec", "encode", recordings / "few", "--model", tiny_bundle / "codec", "--out", out]
    process = start(tmp_path, *words)
    said = stop(tmp_path, process, lambda: any(out.glob("*.codes")), "codec encode")
    assert said == "audiolm codec: stopped, run again to go on\n"
    there = files(out)
    assert 0 < len(there) < 40
    assert all(name.endswith(".codes") and not name.startswith(".") for name in there)
    again(tmp_path, *words)
    assert len(files(out)) == 40
