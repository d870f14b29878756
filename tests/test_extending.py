"""docs/guide/extending.md, followed to the letter: its package, its commands."""

import json
import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.cli.main import main
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.tokens.tokenize import tokenizers_on

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "extending.md"


def write_package(folder):
    """The files of the page."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == PAGE.read_text().count("```python")
    (folder / "tones").mkdir()
    (folder / "tones" / "__init__.py").touch()
    for name, text in blocks:
        (folder / name).write_text(text)


def commands():
    """In the order of the page, with what follows them."""
    return [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    ")
            and line.strip().startswith(("audiolm ", "python -m"))]  # fmt: skip


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder that holds the package, where modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_package(tmp_path)
    yield tmp_path
    tokenizers_on.cache_clear()  # which goes by paths, here the same in every test
    for name in [name for name in sys.modules if name.partition(".")[0] == "tones"]:
        del sys.modules[name]


@pytest.fixture
def audiolm(capsys):
    """A command line -> (status, what it printed)."""

    def run(line):
        capsys.readouterr()
        try:
            status = main(shlex.split(line))
        except SystemExit as stop:
            status = stop.code or 0
        return status, "".join(capsys.readouterr())

    return run


def run_page(audiolm, is_trained=True):
    """Words of each command -> what it printed."""
    shown = {}
    for line in commands():
        program, _, words = line.partition(" ")
        if words.startswith("train ") and not is_trained:
            continue
        if program == "python":
            runpy.run_module(words.removeprefix("-m "), run_name="__main__")
        else:
            status, shown[words] = audiolm(words)
            assert status == 0, shown[words]
    return shown


def test_the_parts_of_the_page_work_together(outside, audiolm):
    """All but training: the shapes of the codec are drawn."""
    shapes = np.random.default_rng(0).normal(0, 0.1, (4, 64, 320)).astype(np.float32)
    folder = Path("runs/tones/codec/model")
    save_model(folder, "tones.codec:FrameCodec", {}, {"shapes": shapes}, {})
    shown = run_page(audiolm, is_trained=False)
    assert len(shown) == 5
    assert "40 good files, 0 bad" in shown["audit tones.corpus:Tones"]
    assert TokenStore.open("runs/tones/tokens").provenance.dataset == "tones"
    assert json.loads(Path("runs/tones/error/error.json").read_text())["clips"] > 2


@pytest.mark.slow
def test_the_page_does_what_it_says(outside, audiolm):
    shown = run_page(audiolm)
    assert len(shown) == 7
    assert "40 good files, 0 bad" in shown["audit tones.corpus:Tones"]
    assert "speakers: voice0" in shown["audit tones.corpus:Tones"]
    assert "code: sha256:" in shown["info runs/tones/pitch"]
    assert "How far held-out recordings" in shown["evaluate tones.configs:error --help"]

    # Each part is known by its name and its code wherever it had a hand in.
    manifest = json.loads(Path("runs/tones/codec/manifest.json").read_text())
    assert manifest["places"]["config.data.source"] == "tones.corpus:Tones"
    assert {part: code["name"] for part, code in manifest["code"].items()} == {
        "config": "tones.fit:FitShapes",
        "config.model": "tones.fit:ShapesConfig",
        "config.data.source": "tones.corpus:Tones",
    }
    codec = load_model(Path("runs/tones/codec/model"), "tones.codec:FrameCodec")
    assert codec.provenance["code"] == manifest["code"]
    assert codec.arrays["shapes"].shape == (4, 64, 320)
    store = TokenStore.open("runs/tones/tokens")
    assert store.provenance.codec_fingerprint == codec.fingerprint
    assert store.manifest["splits"]["train"]["statistics"]["clips"] > 20
    assert int(store.record("train", 0).codes.max()) > 0
    record = json.loads(Path("runs/tones/error/error.json").read_text())
    assert 0 < record["error"] < 0.045  # the power of a sine of 0.3
    assert record["of"]["code"]["config"]["name"] == "tones.score:CodecError"

    # All of it is finished now; another code is measured anew and encodes no more.
    for words in shown:
        if words.startswith(("train", "evaluate tones.configs:error --trust")):
            assert "finished already" in audiolm(words)[1], words
    with Path("tones/score.py").open("a") as file:
        file.write("# a word more\n")
    forget("tones.score", "tones.configs")
    status, again = audiolm("evaluate tones.configs:error --trust tones")
    assert (status, "error.md: written" in again) == (0, True)
    with Path("tones/codec.py").open("a") as file:
        file.write("# a word more\n")
    forget("tones.codec")
    words = "evaluate tones.configs:error --trust tones --directory runs/tones/other"
    status, refused = audiolm(words)
    assert status == 2
    assert "codec/model: was written with sha256:" in refused.splitlines()[-1]


def forget(*modules):
    """As if the process had begun anew."""
    from audiolm_jax.artifacts import outside

    outside._code_of_file.cache_clear()
    for name in modules:
        del sys.modules[name]


def test_no_model_runs_code_of_a_module_that_was_not_trusted(outside, audiolm):
    import tones.pitch

    tones.pitch.save_model(outside / "pitch", "tones.pitch:Pitch", {}, {}, {})
    for name in [name for name in sys.modules if name.partition(".")[0] == "tones"]:
        del sys.modules[name]
    words = "tokenize tones.configs:tokens --semantic pitch --codec pitch"
    status, shown = audiolm(words)
    assert status == 2
    assert "pitch: runs code of the module tones.pitch; if you know it and want that" in shown
    assert "add --trust tones, or audiolm_jax.trust('tones') in Python" in shown
    assert "tones.pitch" not in sys.modules
    assert audiolm("info pitch")[0] == 0
    assert "tones.pitch" not in sys.modules
    # It is trusted now, and no codec.
    status, shown = audiolm(f"{words} --trust tones")
    assert status == 2
    assert "gives a Pitch without levels, codebook_size, decode, latents" in shown
    assert "tones.pitch" in sys.modules
    assert "runs code of the module" in audiolm(words)[1]  # for that command alone


WRONG = {
    "train tone.configs:codec": "config: tone.configs:codec: no module tone; install its package",
    "train tones.config:codec": "no module tones.config;",
    "train tones.configs:codecs": "module tones.configs has no codecs; did you mean codec?",
    "train tones.configs:DATA": "tones.configs:DATA: 'AudioDataConfig' object is not callable",
    "train tones.corpus:Tones": "tones.corpus:Tones: it returned Tones, expected an Experiment",
    "train tones.fit:FitShapes": "tones.fit:FitShapes: FitShapes missing 4 required",
    "audit tones.codec:FrameCodec": "FrameCodec.__init__() missing 1 required",
    "audit tones.fit:ShapesConfig": "gives a ShapesConfig without version, __len__, __getitem__",
    "train tones.broken:x": "config: tones.broken:x: tones.broken: ZeroDivisionError: division",
    "train tones.needy:x": "tones.needy needs a module that is missing: nowhere; install it",
    "info runs --trust ../tones": "--trust ../tones: expected the name of a module",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_name_is_one_line(outside, audiolm, words):
    Path("tones/broken.py").write_text("1 / 0\n")
    Path("tones/needy.py").write_text("import nowhere\n")
    status, shown = audiolm(words)
    assert status == 2
    assert WRONG[words] in shown
    assert len(shown.splitlines()) == 1
    assert os.listdir() == ["tones"] or "runs" not in os.listdir()
