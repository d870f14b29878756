"""Every verb that writes refuses an output that another process writes, before any work."""

import signal

import pytest

from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.main import VERBS, main

DEMO = "configs/demo"
# What follows the verb, how the output is named, and whether it is replaced as a whole.
WRITERS = {
    "train": ([f"{DEMO}/codec.py"], "--directory", "run", False),
    "train k-means": ([f"{DEMO}/kmeans.py"], "--directory", "run", False),
    "tokenize": ([f"{DEMO}/tokens.py"], "--directory", "tokens", False),
    "evaluate": ([f"{DEMO}/evaluate.py"], "--directory", "report", False),
    "evaluate ABX": ([f"{DEMO}/abx.py"], "--directory", "abx", False),
    "evaluate pairs": (["configs/stories/pairs.py"], "--directory", "pairs", False),
    "evaluate sweep": (["configs/asterisk/sweep.py"], "--directory", "sweep", False),
    "codec file": (["encode", "x.wav", "--model", "none"], "--out", "x.codes", True),
    "codec folder": (["encode", "folder", "--model", "none"], "--out", "codes", False),
    "continue": (["x.wav", "--models", "none"], "--out", "x.wav", True),
    "revoice": (["x.wav", "--models", "none"], "--out", "x.wav", True),
    "sample": (["--models", "none"], "--out", "samples", False),
    "bundle": (["none"], "--out", "bundle", True),
    "finetune": (["none", "folder"], "--out", "bundle", True),
    "listen": (["none"], "--out", "x.html", True),
    "release": (["none", "--licence", "x"], "--out", "x.zip", True),
    "import dac": (["dac", "none"], "--out", "model", True),
    "import w2v-bert-2": (["w2v-bert-2", "none"], "--out", "model", True),
    "import hubert": (["hubert", "none"], "--out", "model", True),
    "pull": (["singer/voices"], "--out", "bundle", True),
    "pack": (["folder"], "--out", "pack", False),
    "prepare": (["folder"], "--out", "clips", False),
    "items flite": (["flite", "none"], "--out", "items", False),
}
OTHERS = {"demo", "audit", "plan", "info"}  # they write nothing of their own, or leave it to others
OTHERS |= {"detect", "serve"}
OTHERS |= {"push"}  # a commit on another's is refused by the hub
OTHERS |= {"index"}  # many may write it: each file appears whole, and all say the same


@pytest.mark.parametrize("name", WRITERS)
def test_the_second_writer_is_refused_at_once(name, tmp_path, capsys, monkeypatch):
    words, flag, out, is_replaced = WRITERS[name]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/x.wav").write_bytes(b"")
    words = [str(tmp_path / "folder") if word == "folder" else word for word in words]
    with only_writer(tmp_path / out, is_replaced):
        there = sorted(tmp_path.rglob("*"))
        status = main([name.split()[0], *words, flag, str(tmp_path / out)])
        assert sorted(tmp_path.rglob("*")) == there
    assert status == 2
    shown = capsys.readouterr().err
    assert f"{tmp_path / out}: another process (" in shown
    assert len(shown.splitlines()) == 1


def test_no_verb_is_forgotten():
    assert {name.split()[0] for name in WRITERS} | OTHERS == set(VERBS)


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["as it is", "wrapped by a library"])
def test_control_c_is_a_stop(capsys, monkeypatch, is_wrapped):
    # A shell's background jobs ignore it, and so do their children.
    usual = signal.default_int_handler
    before = signal.signal(signal.SIGINT, usual)

    def stopped(program, verbs, words):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("KeyboardInterrupt") if is_wrapped else error from None

    monkeypatch.setattr("audiolm_jax.cli.main.dispatch", stopped)
    assert main(["info", "x"]) == 130
    assert capsys.readouterr().err == "audiolm info: stopped, run again to go on\n"
    assert signal.signal(signal.SIGINT, before) is usual
