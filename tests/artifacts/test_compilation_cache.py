"""Where compiled programs are kept, and that it changes no result."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_models import voice

from audiolm_jax.artifacts import compilation_cache
from audiolm_jax.audio.files import write_wav

ROOT = Path(__file__).parents[2]
SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from audiolm_jax.artifacts.compilation_cache import use_compilation_cache
use_compilation_cache(); use_compilation_cache()
import jax
print("kept in", jax.config.jax_compilation_cache_dir)
print("result", jax.jit(lambda x: x * 2 + 1)(3))
"""


def obey():
    """Of root, who may write everywhere: as everybody else from now on."""
    if os.getuid() == 0:
        drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        assert ctypes.CDLL(None).prctl(drop, override, 0, 0, 0) == 0


def python(*words, home, before=None, **environment):
    """Output and complaints of a process of its own."""
    names = ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME", "JAX_ENABLE_COMPILATION_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    kept |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    kept |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **environment}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, preexec_fn=before)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_it_lies_in_the_users_cache_folder(tmp_path):
    said, complaints = python("-c", SCRIPT, home=tmp_path)
    place = tmp_path / ".cache/audiolm_jax/compiled"
    (folder,) = place.iterdir()
    assert said.splitlines() == [
        f"compiled programs are kept in {folder}",
        f"kept in {folder}",
        "result 7",
    ]
    assert complaints == ""
    assert files(folder)


@pytest.mark.slow  # a process each
def test_it_lies_where_it_is_told_to_or_nowhere(tmp_path):
    for number, (environment, place) in enumerate(
        [
            ({"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg"),
            ({"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own/deep")}, tmp_path / "own/deep"),
            ({"JAX_COMPILATION_CACHE_DIR": ""}, None),
            ({"JAX_ENABLE_COMPILATION_CACHE": "false"}, None),
        ]
    ):
        home = tmp_path / f"home{number}"
        home.mkdir()
        said, complaints = python("-c", SCRIPT, home=home, **environment)
        assert said.splitlines()[-1] == "result 7"
        assert said.count("compiled programs are kept in") == (place is not None)
        assert complaints == ""
        assert not files(home)
        assert place is None or files(place)
    said, complaints = python("-c", SCRIPT, home="/proc/nowhere")
    assert "compiled programs are not kept: /proc/nowhere/.cache/audiolm_jax" in said
    assert "kept in None" in said
    assert complaints == ""


def test_other_processors_have_another_folder(monkeypatch):
    folder = compilation_cache._usual_folder()
    assert folder == compilation_cache._usual_folder()
    monkeypatch.setattr(compilation_cache, "_features", lambda: "flags : less")
    assert compilation_cache._usual_folder() != folder
    assert compilation_cache._usual_folder().parent == folder.parent


@pytest.mark.slow
def test_results_are_the_same_with_it_on_warm_off_read_only_and_damaged(tiny_bundle, tmp_path):
    prompt, cache = tmp_path / "a.wav", tmp_path / "cache"
    write_wav(prompt, voice(1.0, 130), 16000, None)
    results, kept = {}, []

    def run(name, **environment):
        out = tmp_path / name / "out.wav"
        out.parent.mkdir()
        words = ["-m", "audiolm_jax", "continue", prompt, "--models", tiny_bundle, "--out", out]
        words += ["--seconds", "0.4", "--generation.context-seconds", "1"]
        before = obey if name == "read only" else None
        said = python(*words, home=tmp_path, before=before, **environment)
        results[name] = out.read_bytes()
        kept.append(len(files(cache)))
        return said

    here = {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    run("off", JAX_COMPILATION_CACHE_DIR="")
    run("cold", **here)
    run("warm", **here)
    for path in [cache, *cache.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in list(files(cache))[::2]:  # so that there is something to write
        path.unlink()
    kept[-1] = len(files(cache))
    said, complaints = run("read only", **here)
    assert f"compiled programs are read from {cache}, new ones not kept" in said
    assert "Error writing" not in complaints
    cache.chmod(0o755)
    for path in files(cache):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-100])
    _, complaints = run("damaged", **here)
    assert "Error reading" not in complaints
    assert len(set(results.values())) == 1
    assert kept[0] == 0 < kept[1]
    assert kept[2] == kept[3]
