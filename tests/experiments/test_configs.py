"""Every file in configs/ loads, survives JSON, fits its upstream parts and builds its model."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)
from audiolm_jax.training.reference import Reference

FILES = sorted(p for p in Path("configs").rglob("*.py") if p.name != "defaults.py")


def test_there_are_configs():
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=str)
def test_config(path):
    experiment = load_experiment(path)
    assert dataclasses.is_dataclass(experiment)
    assert len(path.read_text().splitlines()) <= 80
    fields = json.loads(json.dumps(config_to_dict(experiment)))
    assert config_from_dict(type(experiment), fields, str(path)) == experiment
    if isinstance(experiment, StepExperiment):
        state = jax.eval_shape(experiment.program().init, jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(state.params)) > 0
        Reference(experiment.loop.reference)  # says what is wrong with it


def test_paper_codecs_are_the_papers():
    """Every option that SoundStream does not have is off; the stages fit the speech codec."""
    speech = load_experiment(Path("configs/librilight_paper/soundstream.py"))
    piano = load_experiment(Path("configs/piano_paper/soundstream.py"))
    assert speech.model == SoundStreamConfig()
    # Joining groups changes nothing but the time.
    judges = DiscriminatorConfig(grouped_convolution="lane_blocks")
    assert speech.train == piano.train == SoundStreamTrainConfig(discriminators=judges)
    assert speech.noise is piano.noise is None
    assert speech.data.heldout_minutes == piano.data.heldout_minutes == 120
    levels = (piano.model.quantizer.levels, piano.model.quantizer.codebook_size)
    assert levels == (3, 2**14)
    assert piano.model.strides == (2, 4, 5, 8)
    for name in ("semantic", "coarse", "fine"):
        experiment = load_experiment(Path(f"configs/librilight_paper/{name}.py"))
        stage = experiment.model.stage
        assert experiment.codec == speech.directory
        assert stage.levels == speech.model.quantizer.levels
        assert stage.codebook_size == speech.model.quantizer.codebook_size
        assert stage.acoustic_rate_hz == speech.model.frame_rate_hz
        assert experiment.edge_share == 0
    for experiment in (speech, piano):  # else the first step refuses
        quantizer = experiment.model.quantizer
        seconds = experiment.batch_size * experiment.crop_seconds
        uses = seconds * experiment.model.frame_rate_hz / quantizer.codebook_size
        assert quantizer.revival_threshold < uses / 5


def test_the_paper_encoder_is_the_papers():
    """Every size is the default's, which is XL's: 0.6 B parameters; the stages fit it."""
    encoder = load_experiment(Path("configs/librilight_paper/w2v_bert_xl.py"))
    conformer = dataclasses.replace(
        encoder.model.conformer, compute_dtype="float32", remat=ConformerConfig().remat
    )
    assert dataclasses.replace(encoder.model, conformer=conformer) == W2vBertConfig()
    assert encoder.train == W2vBertTrainConfig()
    params = jax.eval_shape(encoder.program().init, jax.random.key(0)).params
    assert 0.58e9 < sum(x.size for x in jax.tree.leaves(params)) < 0.62e9
    for name in ("semantic", "coarse"):
        stage = load_experiment(Path(f"configs/librilight_paper/{name}.py")).model.stage
        assert stage.semantic_rate_hz == encoder.model.token_rate_hz


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
