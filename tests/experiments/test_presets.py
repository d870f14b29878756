"""The presets: each step traces for its mesh, and trains in small."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from support import lm_run
from support.reduced import STEPS, reduced

from audiolm_jax.artifacts.model_folder import read_model_json
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tpu_plan.step import Step, trace

pytestmark = pytest.mark.slow

FAMILIES = ("librilight_paper", "piano_paper", "librispeech", "one_gpu", "stories_medium")
PRESETS = [
    path
    for family in FAMILIES
    for path in sorted(Path("configs", family).glob("*.py"))
    if path.name != "defaults.py" and isinstance(load_experiment(path), StepExperiment)
]
# Decoders of frozen tokens need models that make these: test_vocoder_training.py.
IN_SMALL = [x for x in PRESETS if not isinstance(load_experiment(x), VocoderExperiment)]


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


@pytest.mark.parametrize("path", IN_SMALL, ids=str)
def test_twenty_steps_in_small(path, tmp_path, data):
    experiment = reduced(load_experiment(path), tmp_path, data)
    if isinstance(experiment, StageExperiment):
        lm_run.make_store(tmp_path, stage=experiment.model.stage)
    folder = experiment.run()
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == STEPS
    assert all(map(math.isfinite, losses))
    assert read_model_json(folder)["kind"] == experiment.kind
    print(f"{path}: loss {losses[0]:.3f} to {losses[-1]:.3f}")
