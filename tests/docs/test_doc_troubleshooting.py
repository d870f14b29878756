"""The refusals of docs/guide/troubleshooting.md are those that the commands give."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from support.doc_pages import ROOT, code_blocks
from support.fake_generator import FakeGenerator
from support.tiny_models import voice

from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.generation import api

PAGE = ROOT / "docs/guide/troubleshooting.md"
CASES = re.findall(
    r"^\$ (.+)\n(.+)$", "\n".join(block for _, block in code_blocks(PAGE, "")), re.MULTILINE
)


@pytest.fixture
def place(tiny_bundle, tmp_path, monkeypatch):
    """A folder as a reader has it, with a recording and a bundle."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    (tmp_path / "mine").symlink_to(tiny_bundle)
    write_wav(tmp_path / "voice.wav", voice(1.0, 130), 16000, None)
    monkeypatch.setattr(api, "Generator", FakeGenerator)
    monkeypatch.chdir(tmp_path)


def test_there_are_cases():
    assert len(CASES) >= 14
    assert {line.partition(":")[0] for _, line in CASES} >= {"audiolm train", "audiolm continue"}


@pytest.mark.parametrize(("command", "line"), CASES, ids=[command for command, _ in CASES])
def test_the_command_gives_the_line(command, line, place, capfd):
    words = shlex.split(command)
    if words[0] != "audiolm":  # a setting that a process must begin with
        name, value = words.pop(0).split("=")
        environment = os.environ | {"PYTHONPATH": str(ROOT), name: value}
        run = [sys.executable, "-m", "audiolm_jax", *words[1:]]
        done = subprocess.run(run, env=environment, capture_output=True, text=True)
        status, printed = done.returncode, done.stderr
    else:
        status = main(words[1:])
        printed = capfd.readouterr().err
    assert status == 2
    count = r"among \d+ files"  # of the folder, which grows
    assert re.sub(count, "among", printed.splitlines()[-1]) == re.sub(count, "among", line)
