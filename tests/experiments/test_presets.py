"""The presets: each step traces for its mesh, and trains in small."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from support import lm_run, tiny_models
from support.reduced import STEPS, reduced, reduced_kmeans

from audiolm_jax.artifacts.model_folder import read_model_json
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tpu_plan.step import Step, trace

pytestmark = pytest.mark.slow

FAMILIES = ("librilight_paper", "piano_paper", "librispeech", "one_gpu", "stories_medium")
FILES = [
    path
    for family in FAMILIES
    for path in sorted(Path("configs", family).glob("*.py"))
    if path.name != "defaults.py"
]
PRESETS = [path for path in FILES if isinstance(load_experiment(path), StepExperiment)]
FITTED = [path for path in FILES if isinstance(load_experiment(path), KmeansExperiment)]
RESIDUAL = Path("configs/librilight_paper/residual.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Recordings of tones in noise, 2 s each."""
    folder, rng = tmp_path_factory.mktemp("sound"), np.random.default_rng(0)
    for number in range(16):
        time = np.arange(32_000) / 16_000
        tone = np.sin(2 * np.pi * rng.uniform(80, 800) * time)
        sound = 0.2 * tone + 0.02 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
    return AudioDataConfig(str(folder), heldout_percent=25)


@pytest.mark.parametrize("path", PRESETS, ids=str)
def test_the_step_traces_for_its_mesh(path):
    experiment = load_experiment(path)
    count = 1 if experiment.mesh.preset == "none" else 8
    step = Step(
        experiment.program(),
        experiment.abstract_batch(),
        experiment.mesh,
        0.0,
        experiment.units_per_step(),
        experiment.loop.steps,
    )
    traced = trace(step, jax.devices()[:count])
    assert traced.parameters > 1e6
    state, _ = traced.traced.out_info
    before, after = (
        [(x.shape, x.dtype) for x in jax.tree.leaves(s)] for s in (traced.abstract, state)
    )
    assert before == after


@pytest.mark.parametrize("path", PRESETS, ids=str)
def test_twenty_steps_in_small(path, tmp_path, data):
    experiment = reduced(load_experiment(path), tmp_path, data)
    if isinstance(experiment, StageExperiment):
        lm_run.make_store(tmp_path, stage=experiment.model.stage)
    if isinstance(experiment, VocoderExperiment):
        tiny_models.write_semantic(tmp_path / "frozen", tmp_path / "encoder")
        if experiment.model.levels > 1:
            residual = reduced_kmeans(load_experiment(RESIDUAL), tmp_path, data)
            experiment = dataclasses.replace(experiment, tokens=str(residual.run()))
    folder = experiment.run()
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == STEPS
    assert all(map(math.isfinite, losses))
    assert read_model_json(folder)["kind"] == experiment.kind
    print(f"{path}: loss {losses[0]:.3f} to {losses[-1]:.3f}")


@pytest.mark.parametrize("path", FITTED, ids=str)
def test_clusters_are_fitted_in_small(path, tmp_path, data):
    tiny_models.write_w2v_bert(tmp_path / "encoder", tiny_models.ENCODER)
    own = load_experiment(path)
    experiment = reduced_kmeans(own, tmp_path, data)
    record = read_model_json(experiment.run())
    assert record["provenance"]["upstream"] == experiment.upstream()
    assert (experiment.phases, experiment.mesh) == (own.phases, own.mesh)
