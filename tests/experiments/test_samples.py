import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support.tiny_models import DECODER, LEVELS, stage, write_codec
from support.token_stores import SIZES, provenance_of

from audiolm_jax.artifacts.run_folder import fingerprint_of
from audiolm_jax.audio.files import read_audio
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.errors import InputError
from audiolm_jax.experiments import stage as stage_experiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.nn.partition import device_count
from audiolm_jax.training.config import LoopConfig, MeshConfig
from audiolm_jax.training.mesh import make_mesh, rules_of, state_shardings, use_mesh
from audiolm_jax.training.metrics import MetricsWriter
from audiolm_jax.training.step import make_init


class Store:
    """The one record that is continued."""

    def __init__(self, codec):
        self.directory = "tokens"
        self.provenance = provenance_of(SIZES, codec=fingerprint_of(codec))

    def record(self, split, number):
        assert (split, number) == ("heldout", 0)
        codes = np.random.default_rng(0).integers(0, 16, (200, LEVELS)).astype(np.uint16)
        return TokenRecord("a", codes, np.zeros(100, np.uint16), "noise", "", "", 16000)


@pytest.fixture
def experiment(tiny_bundle):
    parts = tiny_bundle.parent / "parts"
    return StageExperiment(
        directory="run",
        tokens="tokens",
        codec=str(parts / "codec"),
        semantic=str(parts / "semantic"),
        loop=LoopConfig(1),
        model=StageModelConfig(stage("coarse", 2.0), DECODER),
        sample_bundle=str(tiny_bundle),
    )


def sample_on(preset, experiment, directory):
    """Samples of a drawn state, made inside a mesh as the loop does."""
    config = MeshConfig(preset)
    mesh, rules = make_mesh(config), rules_of(config)
    on_evaluate = dataclasses.replace(experiment, mesh=config).write_samples(
        Store(experiment.codec)
    )
    init, key = make_init(experiment.program()), jax.random.key(1)
    with use_mesh(mesh, rules), MetricsWriter(directory, 0, tensorboard=False) as writer:
        shardings = state_shardings(mesh, rules, jax.eval_shape(init, key))
        on_evaluate(1, jax.jit(init, out_shardings=shardings)(key), writer)
        assert jax.sharding.get_abstract_mesh().empty == (mesh is None)  # as it was
    return read_audio(directory / "samples" / "continuation_step_1.wav")[0]


@pytest.mark.parametrize(
    "preset", ["dp", *(pytest.param(x, marks=pytest.mark.slow) for x in ("none", "fsdp"))]
)
def test_samples_are_made_outside_the_mesh_of_the_loop(experiment, tmp_path, monkeypatch, preset):
    """Whose axes are not the names that the parameters of a stage are born with."""

    def continue_audio(self, prompts, seconds, seeds):
        assert jax.sharding.get_abstract_mesh().empty
        assert device_count("batch") == 1
        return [SimpleNamespace(samples=prompts[0])]

    monkeypatch.setattr(Generator, "continue_audio", continue_audio)
    assert len(sample_on(preset, experiment, tmp_path)) == 16000 * 3


@pytest.mark.slow
def test_a_stage_is_heard_on_every_mesh_alike(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(stage_experiment, "_PROMPT_SECONDS", 0.4)
    monkeypatch.setattr(stage_experiment, "_CONTINUATION_SECONDS", 0.2)
    heard = []
    for preset in ("none", "dp", "fsdp"):
        (tmp_path / preset).mkdir()
        heard.append(sample_on(preset, experiment, tmp_path / preset))
    assert len(heard[0]) == 16000 * 0.6
    np.testing.assert_array_equal(heard[0], heard[1])
    np.testing.assert_array_equal(heard[0], heard[2])


@pytest.mark.slow
def test_a_stage_is_heard_with_its_weights_of_now(experiment, tmp_path):
    on_evaluate = experiment.write_samples(Store(experiment.codec))
    program = experiment.program()
    with MetricsWriter(tmp_path, 0, tensorboard=False) as writer:
        for step in (1, 2):
            on_evaluate(step, program.init(jax.random.key(step)), writer)
    first, second = (
        read_audio(tmp_path / "samples" / f"continuation_step_{step}.wav")[0] for step in (1, 2)
    )
    assert len(first) == len(second) == 16000 * 7
    prompt = 16000 * 3 - 2000  # what follows has a say in the last moments of it
    np.testing.assert_array_equal(first[:prompt], second[:prompt])
    assert (first[16000 * 3 :] != second[16000 * 3 :]).any()


@pytest.mark.slow
def test_a_bundle_that_does_not_fit_is_refused(experiment, tmp_path):
    write_codec(tmp_path / "other", seed=3)
    with pytest.raises(InputError, match="its codec did not write tokens; bundle that one"):
        experiment.write_samples(Store(tmp_path / "other"))
    other = StageModelConfig(stage("coarse", 1.0), DECODER)
    with pytest.raises(InputError, match="holds no coarse stage with the tokens and windows"):
        dataclasses.replace(experiment, model=other).write_samples(Store(experiment.codec))
