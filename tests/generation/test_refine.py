"""The fine stage alone, on coarse codes that are given."""

import dataclasses
import itertools

import numpy as np
import pytest
from support.recorded_stages import SAMPLING, Recorder, numbered, of_stage, recorded_generator
from support.tiny_models import CODES, LEVELS, voice

from audiolm_jax.errors import InputError
from audiolm_jax.generation import pipeline
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.pipeline import Generator

COARSE = 2


@pytest.fixture(scope="module")
def generator(tiny_bundle):
    return Generator(load_bundle(tiny_bundle), GenerationConfig(context_seconds=1.0))


@pytest.fixture(scope="module")
def recordings():
    """Codes of 2.9 s, more than a window, and of 0.7 s."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, CODES, (frames, LEVELS)).astype(np.int32) for frames in (145, 35)]


@pytest.mark.parametrize("known", [40, 0])
def test_chunks_keys_and_sampling_are_those_of_generation(monkeypatch, known):
    monkeypatch.setattr(Recorder, "calls", [], raising=False)
    monkeypatch.setattr(Recorder, "ends", {}, raising=False)
    monkeypatch.setattr(Recorder, "fresh", itertools.count(1000), raising=False)
    monkeypatch.setattr(Recorder, "says", None, raising=False)
    monkeypatch.setattr(pipeline, "StageDecoder", Recorder)
    generator = recorded_generator()
    if known:
        result = generator.continue_audio([numbered(known)], 2.0, [3])[0]
    else:
        result = generator.revoice([numbered(180)], [3])[0]
    asked = of_stage(Recorder.calls, "fine")
    Recorder.calls.clear()
    np.testing.assert_array_equal(generator.refine([result.codes], known, [3])[0], result.codes)
    assert len(asked) > 1  # windows
    assert {call["sampling"] for call in asked} == {SAMPLING["fine"]}
    np.testing.assert_equal(Recorder.calls, asked)


def test_what_revoice_has_written_is_written_again(generator):
    result = generator.revoice([voice(2.9, 130)], [0])[0]
    np.testing.assert_array_equal(generator.refine([result.codes], 0, [0])[0], result.codes)


@pytest.mark.parametrize("known", [0, 30])
def test_coarse_levels_and_what_is_known_stay(generator, recordings, known):
    for own, made in zip(recordings, generator.refine(recordings, known, [5, 6]), strict=True):
        np.testing.assert_array_equal(made[:, :COARSE], own[:, :COARSE])
        np.testing.assert_array_equal(made[:known], own[:known])
        assert (made[known:, COARSE:] != own[known:, COARSE:]).mean() > 0.5
        assert made.dtype == np.int32


def test_batch_mates_change_nothing_and_seeds_do(generator, recordings):
    together = generator.refine([*recordings, recordings[1]], 0, [5, 6, 7])
    for place, seed in ((0, 5), (1, 6), (1, 7)):
        alone = generator.refine([recordings[place]], 0, [seed])[0]
        np.testing.assert_array_equal(alone, together[seed - 5])
    assert not np.array_equal(together[1], together[2])


def test_without_a_fine_stage_there_is_nothing_to_write(generator, recordings):
    stages = {name: x for name, x in generator.bundle.stages.items() if name != "fine"}
    bundle = dataclasses.replace(generator.bundle, stages=stages)
    coarse_only = dataclasses.replace(generator.config, coarse_only=True)
    for without in (Generator(bundle, generator.config), Generator(generator.bundle, coarse_only)):
        with pytest.raises(InputError, match=r"^no fine stage: .*coarse-only"):
            without.refine(recordings, 0, [0, 1])
