"""An encoder that learns the units of another: what it is given, and what is refused."""

import dataclasses

import numpy as np
import pytest
from support.tiny_models import CLUSTERS, ENCODER, write_semantic, write_voices

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.types import UnitBatch

STUDENT = dataclasses.replace(
    ENCODER, objective="units", contrastive_layers=0, masked_layers=2, codebook_size=CLUSTERS
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("teacher")
    write_semantic(root / "teacher", root / "encoder")
    write_voices(root / "audio")
    return root


def experiment(root, **fields):
    chosen = {
        "directory": str(root / "student"),
        "data": AudioDataConfig(str(root / "audio"), heldout_percent=30),
        "crop_seconds": 1.0,
        "batch_size": 4,
        "model": STUDENT,
        "teacher": str(root / "teacher"),
        "loop": LoopConfig(steps=2, heldout_batches=1, checkpoint_every=1),
    }
    return EncoderExperiment(**(chosen | fields))


def test_batches_come_with_the_tokens_of_the_teacher(root):
    own = experiment(root)
    data, teacher = own.open_data(), load_semantic_tokenizer(root / "teacher")
    stream = data.batches(0)
    batches = [next(stream), next(stream)]
    for batch in (*batches, *data.heldout()):
        assert isinstance(batch, UnitBatch)
        np.testing.assert_array_equal(batch.units, teacher.encode(batch.audio).ids)
        shapes = own.abstract_batch()
        assert batch.units.shape == shapes.units.shape == (4, 25)
        assert batch.units.dtype == shapes.units.dtype
    assert len(np.unique(batches[0].units)) > 2
    again = next(own.open_data().batches(1))
    np.testing.assert_array_equal(again.units, batches[1].units)
    assert own.filled(batches[0]) == (1.0, 1.0)


def test_a_student_is_trained_and_knows_its_teacher(root):
    folder = experiment(root).run()
    provenance = load_model(folder, "w2v_bert").provenance
    assert provenance["upstream"] == {
        "teacher": load_semantic_tokenizer(root / "teacher").fingerprint
    }


def test_teacher_and_objective_belong_together(root):
    with pytest.raises(InputError, match="the objective units needs a teacher"):
        experiment(root, teacher="")
    with pytest.raises(InputError, match="the objective units needs a teacher"):
        experiment(root, model=ENCODER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebook_size": 9}, r"--model\.codebook-size: gives 9, .* has 8; make them equal"),
        (
            {"mel_hop_samples": 80, "mel_window_samples": 400},
            r"--model\.mel-hop-samples: gives 320",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(root, change, message):
    student = experiment(root, model=dataclasses.replace(STUDENT, **change))
    with pytest.raises(InputError, match=message):
        student.open_data()


def test_what_the_teacher_has_heard_is_not_held_out(root, monkeypatch):
    known = {"config": {"data": {"dataset": "x", "source": str(root / "audio")}}}
    known["config"]["data"]["heldout_percent"] = 5
    monkeypatch.setattr("audiolm_jax.data.unheard.provenance_at", lambda path: known)
    with pytest.raises(InputError, match=r"--teacher .* was trained on"):
        experiment(root).open_data()
