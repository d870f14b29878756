"""The command line: help, one line for bad input, seeds, provenance, no heavy imports."""

import shutil

import numpy as np
import pytest
from support.tiny_models import CODES, voice, write_codec

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.wav import read_wav_provenance
from audiolm_jax.cli.demo import DemoOptions, split_of, steps
from audiolm_jax.cli.main import VERBS, main

# The tiny models were made for windows of 2 s.
WINDOW = ["--generation.context-seconds", "1"]


def call(capsys, *words):
    """Status, standard output and standard error of a command line in this process."""
    capsys.readouterr()
    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = stop.code or 0
    out, err = capsys.readouterr()
    return status, out, err


def assert_one_line(result, *fragments):
    status, _, err = result
    assert status == 2
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for fragment in fragments:
        assert fragment in lines[0]


@pytest.fixture(scope="module")
def prompt(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    write_wav(path, voice(1.0, 130), 16000, None)
    return path


def test_help_names_every_verb(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(capsys, verb):
    status, out, err = call(capsys, verb, "--help")
    assert status == 0
    assert err == ""
    assert f"audiolm {verb}" in out
    if verb in ("train", "tokenize", "evaluate"):
        assert f"audiolm {verb} --help KIND" in out
        kind = out.partition("with their defaults:\n\n")[2].split()[0]
        status, out, err = call(capsys, verb, "--help", kind)
        assert (status, err) == (0, "")
    assert "-h, --help" in out
    assert "(default:" in out or "(required)" in out


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        ("codec", ["--model.quantizer.levels", "--loop.seed", "--train.losses.feature-weight"]),
        ("encoder", ["--model.conformer.heads", "--train.mask-length"]),
        ("kmeans", ["--kmeans.clusters"]),
        ("coarse_lm", ["--model.stage.crop-seconds", "--optimizer.learning-rate"]),
    ],
)
def test_a_configs_help_shows_each_field_with_meaning_and_value(capsys, config, flags):
    status, out, _ = call(capsys, "train", f"configs/demo/{config}.py", "--help")
    assert status == 0
    for flag in flags:
        assert flag in out
    assert "(default:" in out


def test_same_seed_same_bytes(capsys, tiny_bundle, prompt, tmp_path):
    for name, seed in (("a", 1), ("b", 1)):
        words = ["--models", tiny_bundle, "--out", tmp_path / f"{name}.wav", "--seed", seed]
        assert call(capsys, "continue", prompt, *words, "--seconds", 0.4, *WINDOW)[0] == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    provenance = read_wav_provenance(tmp_path / "b.wav")
    assert provenance["seed"] == 1
    assert provenance["synthetic"] is True
    _, out, _ = call(capsys, "info", tmp_path / "b.wav")
    assert provenance["bundle"] in out


def test_bad_requests_for_continuation(capsys, tiny_bundle, prompt, tmp_path):
    out = tmp_path / "out.wav"
    models = ["--models", tiny_bundle, "--out", out, *WINDOW]
    text = tmp_path / "text.wav"
    text.write_text("this is no sound\n" * 50)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(prompt.read_bytes()[:9000])
    assert_one_line(call(capsys, "continue", text, *models), "text.wav", "text file")
    assert_one_line(call(capsys, "continue", cut, *models), "cut.wav", "truncated")
    assert_one_line(call(capsys, "continue", tmp_path / "no.wav", *models), "no.wav")
    assert_one_line(call(capsys, "continue", prompt, *models, "--seconds", "x"), "--seconds")
    assert_one_line(call(capsys, "continue", prompt, *models, "--secs", "1"), "--secs")
    assert_one_line(call(capsys, "continue", prompt, *models, "--prompt-seconds", "9"), "1.00 s")
    assert_one_line(call(capsys, "continue", prompt, "--models", tmp_path, "--out", out), "bundle")
    assert_one_line(
        call(capsys, "continue", prompt, "--models", tiny_bundle, "--out", tmp_path / "o.mp3"),
        ".wav",
    )
    assert not out.exists()


@pytest.mark.parametrize(
    "missing", ["codec/weights.safetensors", "coarse_lm/model.json", "bundle.json"]
)
def test_a_bundle_with_one_file_missing(capsys, tiny_bundle, prompt, tmp_path, missing):
    broken = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, broken)
    (broken / missing).unlink()
    words = ["--models", broken, "--out", tmp_path / "o.wav"]
    assert_one_line(call(capsys, "continue", prompt, *words), missing)


def test_a_bundle_with_an_exchanged_part(capsys, tiny_bundle, prompt, tmp_path):
    broken = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, broken)
    shutil.rmtree(broken / "codec")
    write_codec(broken / "codec", seed=9)
    words = ["--models", broken, "--out", tmp_path / "o.wav"]
    assert_one_line(call(capsys, "continue", prompt, *words), "codec", "exchanged")


def test_a_bundle_of_parts_that_do_not_belong_together(capsys, tiny_bundle, tmp_path):
    parts = tiny_bundle.parent / "parts"
    write_codec(tmp_path / "other", seed=7)
    names = ("semantic", "semantic_lm", "coarse_lm", "fine_lm")
    words = [tmp_path / "other", *(parts / name for name in names)]
    assert_one_line(
        call(capsys, "bundle", *words, "--out", tmp_path / "bundle"), "trained on tokens of codec"
    )
    assert not (tmp_path / "bundle").exists()


def test_codes_go_round_and_know_their_codec(capsys, tiny_bundle, prompt, tmp_path):
    model = ["--model", tiny_bundle / "codec"]
    codes = tmp_path / "a.codes"
    assert call(capsys, "codec", "encode", prompt, *model, "--out", codes)[0] == 0
    for verb, source, out in (("decode", codes, "d.wav"), ("roundtrip", prompt, "r.wav")):
        assert call(capsys, "codec", verb, source, *model, "--out", tmp_path / out)[0] == 0
    decoded, rate = read_audio(tmp_path / "d.wav")
    assert rate == 16000
    assert len(decoded) == 16000
    np.testing.assert_array_equal(decoded, read_audio(tmp_path / "r.wav")[0])
    write_codec(tmp_path / "other", seed=5)
    other = ["--model", tmp_path / "other", "--out", tmp_path / "x.wav"]
    assert_one_line(call(capsys, "codec", "decode", codes, *other), "a.codes", "codes of codec")
    assert_one_line(call(capsys, "codec", "decode", prompt, *model, "--out", "x.wav"), "code file")
    wrong = ["--levels", "99", "--out", tmp_path / "x.wav"]
    assert_one_line(call(capsys, "codec", "decode", codes, *model, *wrong), "--levels 99")
    assert CODES < 99


def test_folders_with_bad_files(capsys, prompt, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_one_line(call(capsys, "audit", empty), "no audio")
    assert_one_line(call(capsys, "audit", tmp_path / "nowhere"), "no such folder")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    shutil.copy(prompt, mixed / "good.wav")
    (mixed / "text.wav").write_text("no sound\n" * 100)
    (mixed / "cut.wav").write_bytes(prompt.read_bytes()[:9000])
    write_wav(mixed / "short.wav", voice(0.1, 100), 16000, None)
    status, out, _ = call(capsys, "audit", mixed)
    assert status == 0
    assert "1 good files, 3 bad" in out
    for name, reason in (("text", "text file"), ("cut", "truncated"), ("short", "too short")):
        assert any(f"  {name}.wav: " in line and reason in line for line in out.splitlines())
    (mixed / "good.wav").unlink()
    status, _, err = call(capsys, "audit", mixed)
    assert status == 2
    assert "no usable recording" in err


def test_bad_configs(capsys, tmp_path):
    missing = tmp_path / "missing.py"
    assert_one_line(call(capsys, "train", missing), "no such config")
    for text, fragment in (
        ("x = 1\n", "experiment()"),
        ("def experiment():\n    return 3\n", "returned int"),
        ("import nonsense_module\n", "nonsense_module"),
        (
            "from audiolm_jax.training.loop import LoopConfig\n"
            "def experiment():\n    return LoopConfig(steps=1, sted=2)\n",
            "sted",
        ),
        (
            "from audiolm_jax.stages import StageConfig\n"
            "def experiment():\n    return StageConfig('coarse', levels=2, coarse_levels=3)\n",
            "--model.stage.coarse-levels 3",
        ),
        (  # set so, it passes the type checks that tests may run under
            "from audiolm_jax.data.sources import AudioDataConfig\n"
            "from audiolm_jax.experiments.codec import CodecExperiment\n"
            "from audiolm_jax.training.config import LoopConfig\n"
            "def experiment():\n"
            "    data, loop = AudioDataConfig(source='a'), LoopConfig(steps=1)\n"
            "    codec = CodecExperiment(directory='d', data=data, loop=loop)\n"
            "    object.__setattr__(codec.data, 'source', 3)\n"
            "    return codec\n",
            "data.source = 3: expected str",
        ),
    ):
        config = tmp_path / "config.py"
        config.write_text(text)
        assert_one_line(call(capsys, "train", config), str(config), fragment)
    demo = "configs/demo/codec.py"
    assert_one_line(call(capsys, "train", demo, "--model.chanels", "3"), "--model.chanels")
    assert_one_line(call(capsys, "train", demo, "--loop.steps", "many"), "--loop.steps")
    assert_one_line(call(capsys, "train", demo, "--loop.steps", "0"), "--loop.steps 0")
    assert_one_line(call(capsys, "tokenize", demo), "CodecExperiment", "it is for audiolm train")
    assert_one_line(call(capsys, "frobnicate"), "frobnicate")


def test_info_names_what_it_is_given(capsys, tiny_bundle, tmp_path):
    status, out, _ = call(capsys, "info", tiny_bundle)
    assert status == 0
    assert out.startswith("bundle ")
    status, out, _ = call(capsys, "info", tiny_bundle / "codec")
    assert out.startswith("soundstream model ")
    assert_one_line(call(capsys, "info", tmp_path), "not a run directory")


def test_unexpected_errors_are_one_line_too(capsys, monkeypatch, tmp_path):
    def explode(arguments):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("audiolm_jax.cli.info.info", explode)
    status, _, err = call(capsys, "info", tmp_path)
    assert status == 1
    assert err.count("\n") == 1
    with pytest.raises(RuntimeError):
        call(capsys, "info", tmp_path, "--debug")


def recordings(folder, lengths):
    folder.mkdir(exist_ok=True)
    for number, seconds in enumerate(lengths):
        write_wav(folder / f"{number}.wav", voice(seconds, 100 + number), 16000, None)
    return folder


def test_an_audit_tells_what_a_config_cannot_do_with_the_recordings(capsys, tmp_path):
    """Before anything is trained."""
    configs = ["--configs", *(f"configs/demo/{name}.py" for name in ("codec", "evaluate"))]
    short = recordings(tmp_path / "short", [1.0 + number / 10 for number in range(12)])
    status, out, _ = call(capsys, "audit", short, "--heldout-percent", 50, *configs[:2])
    assert status == 0
    assert "heldout: " in out
    failed = call(capsys, "audit", short, "--heldout-percent", 50, *configs)
    assert_one_line(failed, "configs/demo/evaluate.py", "no held-out clip of 3.0 s", "the longest")
    assert failed[1].count("data fingerprint") == 1
    none = call(capsys, "audit", short, "--exclude", "?.wav", "--heldout-percent", 0, *configs)
    assert_one_line(none, "configs/demo/codec.py", "no heldout clip among 2")
    few = call(capsys, "audit", short, "--exclude", "?.wav", "--configs", "configs/demo/kmeans.py")
    assert few[0] == 0
    (tmp_path / "many.py").write_text(
        "import dataclasses\nfrom audiolm_jax.experiments.load import load_experiment\n"
        "from pathlib import Path\n\ndef experiment():\n"
        "    kmeans = load_experiment(Path('configs/demo/kmeans.py'))\n"
        "    many = dataclasses.replace(kmeans.kmeans, clusters=2000)\n"
        "    return dataclasses.replace(kmeans, kmeans=many)\n"
    )
    many = call(capsys, "audit", short, "--configs", tmp_path / "many.py")
    assert_one_line(many, "frames for --kmeans.clusters = 2000: use more audio")
    tokens = call(capsys, "audit", short, "--configs", "configs/demo/fine_lm.py")
    assert_one_line(tokens, "configs/demo/fine_lm.py: uses no recordings")


def test_the_demo_takes_one_long_recording_and_many_short_ones(tmp_path):
    long = recordings(tmp_path / "long", [80.0])
    plan = dict(steps(DemoOptions(str(long))))
    assert plan["look at the recordings"][:4] == ["audit", str(long), "--split-by", "time"]
    readers = [words for words in plan.values() if "--data.source" in words]
    assert len(readers) == 5
    assert all("--data.split-by time" in " ".join(words) for words in readers)
    many = recordings(tmp_path / "many", [3.0 + number / 10 for number in range(16)])
    assert split_of(str(many)) is None
    assert split_of(str(recordings(tmp_path / "short", [1.0] * 2))) is None
