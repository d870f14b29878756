"""The Python of docs/guide/python.md runs; the hours of docs/results/costs.md are its steps'."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.doc_pages import ROOT, code_blocks
from support.fake_generator import FakeGenerator
from support.tiny_models import voice

import audiolm_jax
from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.generation import api

COSTS = ROOT / "docs/results/costs.md"
PLANNED = re.findall(
    r"^\| `(\w+)` \| ([\d,]+) \| (v\w+):(\w+) \| ([\d.]+) \| (\d+) \| ([\d,]+) \|$",
    COSTS.read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_the_page_runs_from_top_to_end(tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(api, "Generator", FakeGenerator)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/stories.zip").symlink_to(tiny_bundle)
    for name in ("voice.wav", "a.wav"):
        write_wav(name, voice(1.0, 130), 16000, None)
    soundfile.write("b.mp3", voice(1.0, 150), 16000)
    played = []
    names = {"play": lambda piece, rate_hz: played.append(piece)}
    for line, block in code_blocks(ROOT / "docs/guide/python.md", "python"):
        exec(compile(block, f"python.md:{line}", "exec"), names)
    assert read_provenance(Path("out.wav"))["seed"] == 0
    assert [len(x.audio) for x in names["variants"] + names["results"]] == [5 * 16000] * 6
    assert sum(map(len, played)) == 31 * 16000
    assert names["log_probs"]["semantic"].shape == (25,)
    assert names["other"].prompt_samples == 0
    assert names["tokens"].codes.shape[0] == 2
    assert np.isfinite(names["samples"]).all()
    # Above it stands the log, where an earlier test of the process has shown it.
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith("missing.wav: cannot be read")


def test_the_table_of_the_page_has_every_public_name():
    page = (ROOT / "docs/guide/python.md").read_text(encoding="utf-8")
    table = {
        name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"\w+", row)
    }
    assert set(audiolm_jax.__all__) <= table


@pytest.mark.parametrize("row", PLANNED, ids=[row[0] for row in PLANNED])
def test_hours_are_steps_times_the_estimate_in_tpu_md(row):
    name, steps, chip, shape, ms, hours, chip_hours = row
    experiment = load_experiment(ROOT / f"configs/librilight_paper/{name}.py")
    assert experiment.loop.steps == int(steps.replace(",", ""))
    estimates = (ROOT / "docs/guide/tpu.md").read_text(encoding="utf-8").splitlines()
    assert any(f"{chip}:{shape}" in line and re.search(rf"\b{ms}\b", line) for line in estimates)
    chips = np.prod([int(side) for side in shape.split("x")])
    exact = experiment.loop.steps * float(ms) / 3.6e6
    assert round(exact) == int(hours)
    assert abs(exact * chips - int(chip_hours.replace(",", ""))) <= 1


def test_there_are_five_rows():
    assert len(PLANNED) == 5
