"""From recordings in a bucket to a bundle there, and to sound, without a file of this machine."""

import os
import sys
import tempfile

import pytest
from support.tiny_models import voice
from support.tiny_runs import BUNDLED, write_configs

from audiolm_jax.artifacts import local_copy
from audiolm_jax.artifacts.storage import at, files_below
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.generation.bundle import load_bundle

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
written: list[str] | None = None


def note(event, arguments):
    if written is None:
        return
    if event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & WRITES:
        written.append(os.fsdecode(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        written.extend(os.fsdecode(x) for x in arguments[:2] if isinstance(x, str | bytes))


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """Paths of this machine that Python code writes to, beyond `tmp_path / "scratch"`."""
    global written
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("AUDIOLM_SCRATCH", str(scratch))
    monkeypatch.setenv("MPLCONFIGDIR", str(scratch))  # of a package below SeqIO
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)
    local_copy._made_folder.cache_clear()
    local_copy._made_copies.cache_clear()
    sys.addaudithook(note)
    written = []
    yield lambda: [
        path
        for path in map(os.path.abspath, written)
        if not path.startswith((str(scratch), "/dev/", "/proc/"))
        and not path.startswith(os.environ.get("JAX_COMPILATION_CACHE_DIR", "/none"))
        and "__pycache__" not in path
    ]
    written = None
    local_copy._made_folder.cache_clear()
    local_copy._made_copies.cache_clear()


@pytest.mark.slow  # trains seven tiny models
def test_the_whole_road(tmp_path, noted, capsys):
    configs = write_configs(tmp_path, "memory://corpus/voices", runs="memory://results/runs")

    def run(*words, status=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == status, capsys.readouterr()
        return "".join(capsys.readouterr())

    before = len(noted())
    for i in range(24):
        sound = voice(1.0 + 0.1 * i, 80 + 15 * i, i)
        write_wav(f"memory://corpus/voices/{i % 3}/clip_{i}.wav", sound, 16000, None)
    assert "24 recordings" in run("index", "memory://corpus/voices")
    assert "24 good files" in run("audit", "memory://corpus/voices")
    for name in ("codec", "encoder", "kmeans"):
        run("train", configs[name])
    run("tokenize", configs["tokens"])
    for name in ("semantic_lm", "coarse_lm", "fine_lm"):
        run("train", configs[name])
        assert "finished already" in run("train", configs[name])
    parts = [f"memory://results/runs/{name}" for name in BUNDLED]
    run("bundle", *parts, "--out", "memory://results/bundle")
    window = ["--generation.context-seconds", 0.4, "--seconds", 0.2, "--prompt-seconds", 0.4]
    run("continue", "memory://corpus/voices/0/clip_3.wav", "--models", "memory://results/bundle",
        *window, "--out", "memory://results/heard/out.wav")  # fmt: skip
    assert "synthetic: True" in run("info", "memory://results/heard/out.wav")
    for path in ("bundle", "runs/tokens", "runs/codec", "runs/codec/model"):
        run("info", f"memory://results/{path}")
    run("codec", "encode", "memory://corpus/voices", "--model", "memory://results/runs/codec/model",
        "--out", "memory://results/codes")  # fmt: skip
    assert len(files_below(at("memory://results/codes"))) == 24
    assert load_bundle("memory://results/bundle").parts.keys() >= {"codec", "semantic"}
    assert noted()[before:] == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["scratch"]
    assert not list((tmp_path / "scratch").rglob("work_*"))
    assert not [name for name in files_below(at("memory://work")) if name.endswith(".lock")]
