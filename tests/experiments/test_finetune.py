"""A bundle tuned to recordings: the stages that learn begin with its weights and end better on
what was held out, or stay; everything else is what it was."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.finetune import FinetuneOptions, folder_of
from audiolm_jax.cli.main import main
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.finetune import FinetuneConfig, Tuned, held_out_of
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.training.metrics import read_metrics


def write_recordings(folder, count, seconds, rate_hz=16_000):
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        hum = np.sin(np.arange(round(seconds * rate_hz)) * rng.uniform(0.02, 0.2))
        write_wav(folder / f"{number}.wav", (0.2 * hum).astype(np.float32), rate_hz, None)
    return folder


def finetune(bundle, voice, out, *more):
    steps = ["--tune.steps", "6", "--tune.batch-size", "4"]
    return main(["finetune", str(bundle), str(voice), "--out", str(out), *steps, *more])


@pytest.fixture(scope="module")
def tuned(tiny_bundle, tmp_path_factory):
    root = tmp_path_factory.mktemp("finetune")
    voice = write_recordings(root / "my voice", 12, 2.0)
    assert finetune(tiny_bundle, voice, root / "mine", "--tune.learning-rate", "0.01") == 0
    return root


def test_only_the_stages_that_learn_are_others(tiny_bundle, tuned):
    old, new = load_bundle(tiny_bundle), load_bundle(tuned / "mine")
    assert [name for name in old.parts if old.parts[name] != new.parts[name]] == [
        "coarse_lm",
        "fine_lm",
    ]
    for part in ("coarse_lm", "fine_lm"):
        lines = read_metrics(tuned / "mine_runs" / part / "metrics.jsonl")
        losses = {x["step"]: x["heldout/loss"] for x in lines if "heldout/loss" in x}
        assert list(losses) == list(range(7))
        assert min(losses.values()) < losses[0]


def test_the_run_begins_with_the_weights_of_the_bundle(tiny_bundle, tuned):
    for part in ("coarse_lm", "fine_lm"):
        provenance = json.loads((tuned / "mine" / part / "model.json").read_text())["provenance"]
        assert provenance["warm_start"]["fingerprint"] == load_bundle(tiny_bundle).parts[part]


def test_the_card_tells_what_it_was_made_of(tiny_bundle, tuned):
    card = (tuned / "mine" / "README.md").read_text()
    assert f"From bundle {load_bundle(tiny_bundle).fingerprint[:16]}" in card
    assert "by the 0.4 minutes of `my voice`" in card
    assert "licences: coarse_lm: not stated; fine_lm: not stated" in card


def test_run_again_it_is_left_alone(tiny_bundle, tuned, caplog):
    before = load_bundle(tuned / "mine").fingerprint
    voice = tuned / "my voice"
    assert finetune(tiny_bundle, voice, tuned / "mine", "--tune.learning-rate", "0.01") == 0
    assert load_bundle(tuned / "mine").fingerprint == before
    assert caplog.text.count("finished already, nothing to do") == 2


def test_what_no_step_made_better_stays(tiny_bundle, tuned, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("audiolm_jax.cli.finetune.outcome", lambda run: Tuned(0, 1.5, 1.5))
    more = ["--tune.learning-rate", "0.01", "--directory", str(tuned / "mine_runs")]
    assert finetune(tiny_bundle, tuned / "my voice", tmp_path / "same", *more) == 0
    words = "held-out loss 1.500 nats a token, no step lowered it; left as it was"
    assert capsys.readouterr().out.count(words) == 2
    assert load_bundle(tmp_path / "same").parts == load_bundle(tiny_bundle).parts


def test_an_archive_is_unpacked_once(tiny_bundle, tmp_path):
    archive = tmp_path / "tiny.zip"
    assert main(["release", str(tiny_bundle), "--out", str(archive), "--licence", "none"]) == 0
    options = FinetuneOptions(bundle=archive, audio_dir=tmp_path, out=tmp_path / "out")
    bundle = load_bundle(archive)
    copy = folder_of(options, bundle.fingerprint)
    assert load_bundle(copy).parts == bundle.parts
    (copy / "mark").touch()
    assert folder_of(options, bundle.fingerprint) == copy
    assert (copy / "mark").exists()
    whole = dataclasses.replace(options, bundle=tiny_bundle)
    assert folder_of(whole, bundle.fingerprint) == tiny_bundle


def test_few_recordings_are_held_out_in_part(tmp_path):
    many = AudioDataConfig(source=str(write_recordings(tmp_path / "many", 12, 2.0)))
    few = AudioDataConfig(source=str(write_recordings(tmp_path / "few", 2, 20.0)))
    assert held_out_of(many, 20.0).split_by == "file"
    assert held_out_of(many, 20.0).heldout_minutes == 0.08  # a fifth of 0.4
    assert held_out_of(few, 20.0).split_by == "time"
    little = AudioDataConfig(source=str(write_recordings(tmp_path / "little", 2, 1.0)))
    with pytest.raises(InputError, match=r"little: 0\.0 min in 2 files: too little to hold a part"):
        held_out_of(little, 10.0)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"stages": ()}, r"--tune\.stages \(\): expected one or more"),
        ({"stages": ("fine", "fine")}, r"each once"),
        ({"steps": 0}, r"--tune\.steps 0: expected 1 or more"),
        ({"batch_size": 0}, r"--tune\.batch-size 0"),
        ({"learning_rate": float("nan")}, r"--tune\.learning-rate nan: expected more than 0"),
        ({"heldout_percent": 51.0}, r"--tune\.heldout-percent 51.0: expected 1 to 50"),
        ({"seed": -1}, r"--tune\.seed -1"),
    ],
)
def test_odd_wishes(fields, line):
    with pytest.raises(InputError, match=line):
        FinetuneConfig(**fields)


def test_bad_input_is_one_line_and_nothing_is_begun(tiny_bundle, tuned, tmp_path, capsys):
    def refused(bundle, voice, out, *more):
        assert finetune(bundle, voice, out, *more) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    voice, out = tuned / "my voice", tmp_path / "out"
    assert "no such folder" in refused(tiny_bundle, tmp_path / "none", out)
    assert "bundle.json: not found" in refused(tmp_path, voice, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    assert "holds other files (no bundle.json)" in refused(tiny_bundle, voice, tmp_path / "full")
    assert "expected a folder of this machine" in refused(tiny_bundle, voice, "memory://x/out")
    coarse = tmp_path / "coarse only"
    shutil.copytree(tiny_bundle, coarse)
    shutil.rmtree(coarse / "fine_lm")
    assert refused(coarse, voice, out)
    assert not out.exists()
    assert not (tmp_path / "out_runs").exists()
