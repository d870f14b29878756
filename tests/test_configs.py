"""Every file in configs/ loads, survives JSON, fits its upstream parts and builds its model."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from audiolm_jax.experiment import (
    CodecExperiment,
    EncoderExperiment,
    StageExperiment,
    load_experiment,
)
from audiolm_jax.lm import train as lm_train
from audiolm_jax.runtime.config_json import config_from_dict, config_to_dict
from audiolm_jax.runtime.optim import make_optimizer
from audiolm_jax.tokenizers.soundstream import train as codec_train
from audiolm_jax.tokenizers.w2v_bert import train as w2v_train

FILES = sorted(Path("configs").rglob("*.py"))


def program_of(experiment):
    optimizer = make_optimizer(experiment.optimizer)
    match experiment:
        case CodecExperiment():
            other = make_optimizer(experiment.discriminator_optimizer)
            return codec_train.program(experiment.model, experiment.train, optimizer, other)
        case EncoderExperiment():
            return w2v_train.program(experiment.model, experiment.train, optimizer)
        case StageExperiment():
            return lm_train.program(experiment.model, experiment.train, optimizer)


def test_there_are_configs():
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=str)
def test_config(path):
    experiment = load_experiment(path)
    assert dataclasses.is_dataclass(experiment)
    assert len(path.read_text().splitlines()) <= 80
    fields = json.loads(json.dumps(config_to_dict(experiment)))
    assert config_from_dict(type(experiment), fields, str(path)) == experiment
    if isinstance(experiment, CodecExperiment | EncoderExperiment | StageExperiment):
        state = jax.eval_shape(program_of(experiment).init, jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(state.params)) > 0


def test_demo_stages_fit_the_demo_tokenizers():
    folder = Path("configs/demo")
    codec = load_experiment(folder / "codec.py").model
    encoder = load_experiment(folder / "encoder.py").model
    clusters = load_experiment(folder / "kmeans.py").kmeans.clusters
    for name in ("semantic", "coarse", "fine"):
        stage = load_experiment(folder / f"{name}_lm.py").model.stage
        assert stage.name == name
        assert stage.levels == codec.quantizer.levels
        assert stage.codebook_size == codec.quantizer.codebook_size
        assert stage.acoustic_rate_hz == codec.frame_rate_hz
        assert stage.semantic_rate_hz == encoder.token_rate_hz
        assert stage.semantic_clusters == clusters
