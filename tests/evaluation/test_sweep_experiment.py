"""A sweep over layers and numbers of clusters, from a config file to the table."""

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.data.alignments import AlignedPhone, write_alignments
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.features import features_of
from audiolm_jax.evaluation.abx.items import read_items, triphones, write_items
from audiolm_jax.evaluation.abx.score import abx_score
from audiolm_jax.evaluation.page import training
from audiolm_jax.evaluation.page.training import TrainerSummary, summarize_run
from audiolm_jax.evaluation.sweep import layer as layer_sweep
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment
from audiolm_jax.evaluation.sweep.speaker_probe import probe_speakers
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig

KMEANS = KmeansConfig(iterations=4, max_frames=150)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two voices that sing `b ah d` and `b ih d`, five times each."""
    root, phones = tmp_path_factory.mktemp("sweep"), []
    for speaker, pitch in (("low", 100), ("high", 130)):
        (root / "audio" / speaker).mkdir(parents=True)
        for number in range(5):
            file, pieces, time = f"{speaker}/{number}", [], Decimal(0)
            for name in ("b", "ah", "d", "b", "ih", "d", "pau"):
                height = {"ah": 2, "ih": 4, "pau": 0.3}.get(name, 1)
                pieces.append(voice(0.1, pitch * height, number))
                phones.append(AlignedPhone(file, name, time, time + Decimal("0.1"), speaker))
                time += Decimal("0.1")
            write_wav(root / "audio" / f"{file}.wav", np.concatenate(pieces), 16000, None)
    write_alignments(root / "a.tsv", phones)
    write_items(root / "x.item", triphones(phones))
    return root


def experiment(root, parts, layers, clusters, **fields):
    return SweepExperiment(
        str(root / "out"),
        AudioDataConfig(str(root / "audio"), heldout_percent=0),
        str(parts / "encoder"),
        layers,
        clusters,
        str(root / "audio"),
        str(root / "x.item"),
        str(root / "a.tsv"),
        kmeans=KMEANS,
        **fields,
    )


def cells_of(root):
    return {path.name: path.stat().st_mtime_ns for path in (root / "out/cells").iterdir()}


@pytest.mark.slow
def test_a_sweep_measures_each_cell_once(root, tiny_bundle, monkeypatch, caplog):
    caplog.set_level("INFO")
    parts = tiny_bundle.parent / "parts"
    small = experiment(root, parts, ("masked_1",), (4,))
    small.run()
    assert "k-means: 150 of 180 frames, 9 of 10 training clips" in caplog.text
    first = cells_of(root)
    assert set(first) == {"masked_1_features.json", "masked_1_k4.json"}

    def stopped(*words, kept=layer_sweep.fit_kmeans):
        kept(*words)
        raise KeyboardInterrupt

    large = experiment(root, parts, ("contrastive_1", "masked_1"), (4, 6))
    with monkeypatch.context() as patch:
        patch.setattr(layer_sweep, "fit_kmeans", stopped)
        with pytest.raises(KeyboardInterrupt):
            large.run()
    assert set(cells_of(root)) == {*first, "contrastive_1_features.json"}
    table = large.run().read_text()
    after = cells_of(root)
    assert len(after) == 6
    assert {name: after[name] for name in first} == first
    assert {path.name for path in (root / "out").iterdir()} >= {"table.md", "sweep.json", "cells"}
    assert not [*(root / "out/features").iterdir(), *(root / "out/fits").iterdir()]
    assert [line.split(" | ")[:2] for line in table.splitlines()[2:]] == [
        [f"| {layer}", k] for layer in ("contrastive_1", "masked_1") for k in ("none", "4", "6")
    ]
    cells = {(c["layer"], c["clusters"]): c for c in json.loads(
        (root / "out/sweep.json").read_text())["cells"]}  # fmt: skip
    for (_, clusters), cell in cells.items():
        assert (cell["use"] is None) == (cell["purity"] is None) == (clusters is None)
        assert cell["speaker"]["recordings"] == 10
        assert cell["speaker"]["chance"] == 0.5
    assert 0 < cells["masked_1", 6]["unexplained"] < cells["masked_1", 4]["unexplained"] < 1
    with pytest.raises(InputError, match=r"config\.speaker_probe is true in this run directory"):
        experiment(root, parts, ("masked_1",), (4,), speaker_probe=False).run()
    caplog.clear()
    large.run()
    assert "finished already" in caplog.text


@pytest.mark.slow
def test_a_cell_is_what_its_tokenizer_gives(root, tiny_bundle, monkeypatch):
    """k-means trained by itself with a cell's layer and K gives the cell's figures."""
    parts = tiny_bundle.parent / "parts"
    metrics = ({"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0})
    curves = TrainerSummary("the run", 2, "4 x 1 s", 10, 0.1, "1 x cpu", metrics, ("loss",))
    monkeypatch.setattr(training, "summarize_run", {Path("runs/the_run"): curves}.get)
    sweep = experiment(root, parts, ("masked_1",), (4,), runs=("runs/the_run",))
    sweep.run()
    drawn = (root / "out/figures/training_1_the_run.svg").read_text()
    assert "<svg" in drawn
    assert "the run: loss" in drawn
    dataclasses.replace(sweep, runs=()).run()  # the same directory
    cell = json.loads((root / "out/cells/masked_1_k4.json").read_text())
    config = KmeansConfig(4, "masked_1", iterations=4, max_frames=150)
    folder = KmeansExperiment(
        directory=str(root / "run"), data=sweep.data, encoder=sweep.encoder, kmeans=config
    ).run()
    with pytest.raises(InputError, match=r"run: no loss in metrics\.jsonl; --runs takes"):
        summarize_run(root / "run")
    provenance = load_model(folder).provenance
    assert provenance["inertia"] == cell["inertia"]
    assert provenance["used"]["frames"] == 150
    assert {path.name for path in (root / "run").iterdir()} == {
        "manifest.json", "metrics.jsonl", "timing.jsonl", "model",
    }  # fmt: skip
    paths = {f.relative_to(root / "audio").with_suffix("").as_posix(): f
             for f in (root / "audio").rglob("*.wav")}  # fmt: skip
    made = features_of(FeatureConfig("t", "semantic", str(folder)), paths, 8)["t, centroids"]
    score = abx_score(read_items(root / "x.item"), made, "corrected", sweep.abx)
    assert score.across.error == cell["scores"][0]["across"]["error"]
    cell = json.loads((root / "out/cells/masked_1_features.json").read_text())
    scaled = FeatureConfig("t", "encoder", sweep.encoder, "masked_1", scaled_by=str(folder))
    score = abx_score(
        read_items(root / "x.item"), features_of(scaled, paths, 8)["t"], "corrected", sweep.abx
    )
    assert score.across.error == cell["scores"][0]["across"]["error"]


def test_from_the_command_line(root, tiny_bundle, capsys):
    parts = tiny_bundle.parent / "parts"
    (root / "sweep.py").write_text(f"""
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.evaluation.sweep.experiment import SweepExperiment

def experiment():
    return SweepExperiment(
        "{root}/cli", AudioDataConfig("{root}/audio", heldout_percent=0), "{parts}/encoder",
        ("masked_9",), (4,), "{root}/audio", "{root}/x.item",
    )
""")
    assert main(["evaluate", str(root / "sweep.py")]) != 0
    assert "--layers masked_9: this encoder has contrastive_1, m" in capsys.readouterr().err


def test_probe():
    rng = np.random.default_rng(0)
    speakers = {f"{name}{i}": name for name in "ab" for i in range(20)} | {"c0": "c"}
    voices = {file: rng.normal(size=8) + (speakers[file] == "a") * 4 for file in speakers}
    found = probe_speakers(voices, speakers, 0)
    assert found.accuracy > 0.95
    assert (found.chance, found.speakers, found.recordings, found.left_out) == (0.5, 2, 40, 1)
    # More dimensions than recordings: whoever has seen the answers knows them all.
    same = {file: rng.normal(size=200) for file in speakers}
    assert probe_speakers(same, speakers, 0).accuracy < 0.8
    assert probe_speakers({"c0": voices["c0"]}, speakers, 0) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": ()}, r"--layers \(\): expected at least one"),
        ({"clusters": (4, 4)}, r"--clusters \(4, 4\): expected at least one, each once"),
        ({"clusters": (0,)}, r"kmeans\.clusters = 0"),
        ({"clusters": (4, 2_000_000)}, r"max-frames = 1000000: expected at least clusters = 2"),
        ({"kmeans": KmeansConfig(clusters=3)}, r"--kmeans\.clusters 3: a sweep takes them from"),
    ],
)
def test_bad_config(fields, message):
    data = AudioDataConfig("audio")
    good = {"layers": ("masked_1",), "clusters": (4,)}
    with pytest.raises(InputError, match=message):
        SweepExperiment("out", data, "encoder", audio_dir="a", items="i", **good | fields)
