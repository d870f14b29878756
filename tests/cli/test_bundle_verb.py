"""`audiolm bundle` of run directories: what they took and reached is on the card."""

import json
import math
import shutil
import zipfile
from types import SimpleNamespace

import pytest
import yaml

from audiolm_jax.cli.main import main


def head(card):
    return yaml.safe_load(card.split("---\n")[1])


@pytest.fixture
def runs(tiny_bundle, tmp_path):
    """Run directories of the parts of a bundle: two of stages, of which one is a branch."""
    parts = tiny_bundle.parent / "parts"
    for name, warm_start in (("semantic_lm", None), ("coarse_lm", {"step": 90, "is_branch": True})):
        run = tmp_path / "runs" / name
        shutil.copytree(parts / name, run / "model")
        record = json.loads((run / "model/model.json").read_text())
        record["provenance"]["steps"] = 100
        (run / "model/model.json").write_text(json.dumps(record))
        devices = {"platform": "tpu", "kind": "TPU v4", "count": 8, "hosts": 2}
        manifest = {"devices": devices, "warm_start": warm_start}
        (run / "manifest.json").write_text(json.dumps(manifest))
        # The step of 80 was done twice: the run was killed and went on.
        timing = [(60, 40.0), (80, 999.0), (80, 10.0), (100, 30.0)]
        kept = [(step, x) for step, x in timing if warm_start is None or step > 90]
        lines = [json.dumps({"step": step, "seconds_per_step": x}) for step, x in kept]
        (run / "timing.jsonl").write_text("\n".join(lines) + "\n")
        losses = [(80, 2.5), (100, 2.25)]
        lines = [json.dumps({"step": step, "heldout/loss": x}) for step, x in losses]
        (run / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 100, "loss": 1}']) + "\n")
    rest = [parts / name for name in ("codec", "semantic", "fine_lm")]
    return [*(tmp_path / "runs").iterdir(), *rest]


def bundled(runs, out, *flags):
    return main(["bundle", *map(str, runs), "--out", str(out), *flags])


def test_hours_and_perplexity_of_runs_are_on_the_card(runs, tmp_path):
    flags = ["--language", "en", "es", "--dataset", "singer/songs", "--licence", "MIT. Mine"]
    assert bundled(runs, tmp_path / "voices", *flags) == 0
    card = (tmp_path / "voices/README.md").read_text()
    fields = head(card)
    assert (fields["license"], fields["language"]) == ("mit", ["en", "es"])
    assert fields["datasets"] == ["singer/songs"]
    assert fields["metrics"] == ["perplexity"]
    (index,) = fields["model-index"]
    assert index["name"] == "voices"
    values = {x["task"]["name"]: x["metrics"][0]["value"] for x in index["results"]}
    expected = round(math.exp(2.25), 3)
    assert values == {"tokens of semantic_lm": expected, "tokens of coarse_lm": expected}
    hours = (60 * 40 + 20 * 10 + 20 * 30) / 3600
    assert f"| semantic_lm | stage | 100 | noise | {hours:.3g} h on 8 x TPU v4 |" in card
    assert f"| coarse_lm | stage | 100 | noise | {10 * 30 / 3600:.3g} h on 8 x TPU v4 |" in card
    assert "| fine_lm | stage | 0 | noise |  |" in card


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--language", "English"), "--language English: expected an ISO 639 code, as en"),
        (("--dataset", "my songs"), "--dataset my songs: expected the name a hub has"),
    ],
)
def test_what_no_hub_takes_is_refused(runs, tmp_path, capsys, flags, line):
    assert bundled(runs, tmp_path / "voices", *flags) == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert line in shown
    assert not (tmp_path / "voices").exists()


@pytest.mark.parametrize("licence", ["CC BY 4.0, A. Nother", "ask me"])
def test_an_archive_states_the_licence_that_the_bundle_did_not(
    runs, tmp_path, monkeypatch, licence
):
    loaded = SimpleNamespace(fingerprint="f" * 64)  # tests/generation/test_api.py verifies
    monkeypatch.setattr("audiolm_jax.cli.release.load_bundle", lambda place: loaded)
    assert bundled(runs, tmp_path / "voices") == 0
    assert head((tmp_path / "voices/README.md").read_text())["license"] == "unknown"
    out = tmp_path / "voices.zip"
    assert main(["release", str(tmp_path / "voices"), "--out", str(out), "--licence", licence]) == 0
    with zipfile.ZipFile(out) as archive:
        fields = head(archive.read("voices/README.md").decode())
        has_text = "voices/LICENSE" in archive.namelist()
        text = archive.read("voices/LICENSE").decode() if has_text else ""
    assert fields["license"] == ("other" if licence == "ask me" else "cc-by-4.0")
    assert text == ("Licence of this archive: ask me\n" if licence == "ask me" else "")
