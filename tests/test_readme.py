"""The Python lines of the README do what they say."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from support.fake_generator import FakeGenerator
from support.tiny_models import fingerprint, stage, voice, write_stage

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.generation import api
from audiolm_jax.generation.bundle import STAGE_PARTS, write_bundle

ROOT = Path(__file__).parent.parent
HEAVY = ("tensorflow", "torch", "seqio", "apache_beam", "tensorflow_datasets")


def lines():
    """Of the section."""
    section = (ROOT / "README.md").read_text().split("## From Python\n")[1].split("\n## ")[0]
    code = [line[4:] for line in section.splitlines() if line.startswith("    ") or not line]
    text = "\n".join(code).strip() + "\n"
    assert text.startswith("import audiolm_jax\n")
    assert 8 <= len([line for line in text.splitlines() if line]) <= 10
    return text


def check_output(folder, printed):
    sound, rate = read_audio(folder / "out.flac")
    assert (len(sound), rate) == (5 * 16000, 16000)
    assert read_provenance(folder / "out.flac")["seed"] == 0
    pieces = [float(line.split()[0]) for line in printed if re.fullmatch(r"[\d.]+ s", line)]
    assert len(pieces) > 3
    assert sum(pieces) == pytest.approx(9, abs=0.01 * len(pieces))
    assert printed[-1].startswith("{'semantic': ")


def test_the_lines_do_what_they_say(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "Generator", FakeGenerator)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/stories.zip").symlink_to(tiny_bundle)
    write_wav("voice.wav", voice(1.0, 130), 16000, None)
    names = {}
    exec(compile(lines(), "README.md", "exec"), names)
    check_output(tmp_path, capsys.readouterr().out.splitlines())
    assert names["codes"].shape == (200, 4)
    np.testing.assert_array_equal(names["result"].audio[16000:], names["result"].continuation)


def needed(name, found):
    """The distributions that one needs, without its extras."""
    for text in importlib.metadata.requires(name) or []:
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            for extra in need.extras:  # such as jax's for its libraries
                found |= {
                    Requirement(x).name
                    for x in importlib.metadata.requires(need.name) or []
                    if "extra" in x and Requirement(x).marker.evaluate({"extra": extra})
                }
            if need.name.lower() not in found:
                found.add(need.name.lower())
                needed(need.name, found)
    return found


def link_distribution(name, target):
    """Its files, those of this environment, in another."""
    for file in importlib.metadata.distribution(name).files or []:
        top = file.parts[0]
        source = Path(str(file.locate())).parents[len(file.parts) - 1] / top
        if top != ".." and top != "__pycache__" and source.exists():
            place = target / top
            if not place.exists():
                place.symlink_to(source)


@pytest.mark.slow
def test_the_lines_run_from_a_wheel_without_the_extras(tiny_bundle, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("audiolm_jax", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheel", source]
    subprocess.run([sys.executable, *map(str, build)], check=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", packages, wheel]
    subprocess.run([sys.executable, *map(str, install)], check=True)
    (made,) = packages.glob("audiolm_jax-*.dist-info")
    needs = [Requirement(x) for x in importlib.metadata.Distribution.at(made).requires or []]
    found = {
        need.name.lower() for need in needs if not (need.marker and "extra" in str(need.marker))
    }
    for name in list(found):
        needed(name, found)
    for name in found:
        link_distribution(name, packages)
    # A bundle whose windows have room for the usual context.
    work = tmp_path / "work"
    parts, sources = tiny_bundle.parent / "parts", {}
    upstream = {name: fingerprint(parts / name) for name in ("codec", "semantic")}
    write_stage(work / "coarse_lm", stage("coarse", 4.0), upstream)
    for name in ("codec", "semantic", *STAGE_PARTS.values()):
        sources[name] = (work if name == "coarse_lm" else parts) / name
    write_bundle(work / "models/stories.zip", sources, {})
    write_wav(work / "voice.wav", voice(1.0, 130), 16000, None)
    missing = f"import importlib.util as u; assert not any(map(u.find_spec, {HEAVY!r}))\n"
    ours = f"assert audiolm_jax.__file__.startswith({str(packages)!r})\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", missing + lines() + ours],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    check_output(work, done.stdout.splitlines())
