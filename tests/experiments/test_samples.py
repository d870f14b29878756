import dataclasses

import jax
import numpy as np
import pytest
from support.tiny_models import DECODER, LEVELS, stage, write_codec

from audiolm_jax.audio.files import read_audio
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import StageModelConfig
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.metrics import MetricsWriter

pytestmark = pytest.mark.slow


class Store:
    """The one record that is continued."""

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


def test_a_stage_is_heard_with_its_weights_of_now(experiment, tmp_path):
    on_evaluate = experiment.write_samples(Store())
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


def test_a_bundle_that_does_not_fit_is_refused(experiment, tmp_path):
    write_codec(tmp_path / "other", seed=3)
    with pytest.raises(InputError, match="its codec is not --codec "):
        dataclasses.replace(experiment, codec=str(tmp_path / "other")).write_samples(Store())
    other = StageModelConfig(stage("coarse", 1.0), DECODER)
    with pytest.raises(InputError, match="holds no coarse stage with the tokens and windows"):
        dataclasses.replace(experiment, model=other).write_samples(Store())
