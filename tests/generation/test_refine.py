"""The fine stage alone, on coarse codes that are given."""

import dataclasses

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.pipeline import Generator

COARSE = 2


@pytest.fixture(scope="module")
def generator(tiny_bundle):
    config = GenerationConfig(context_seconds=1.0, first_seconds=0.2)
    return Generator(load_bundle(tiny_bundle), config)


@pytest.fixture(scope="module")
def recordings(generator):
    """Codes of 2.6 s, more than a window, and of a second."""
    return [generator.encode(voice(s, p, p))[0] for s, p in ((2.6, 100), (1.0, 170))]


def test_what_generation_has_written_is_written_again(generator):
    """Chunks, draws and sampling are those of the road that the codes came by."""
    result = generator.revoice([voice(2.6, 100)], [3])[0]
    np.testing.assert_array_equal(generator.refine([result.codes], 0, [3])[0], result.codes)
    result = generator.continue_audio([voice(0.8, 100)], 2.4, [4])[0]
    np.testing.assert_array_equal(generator.refine([result.codes], 40, [4])[0], result.codes)


def test_coarse_levels_and_what_is_known_stay(generator, recordings):
    for known in (0, 30):
        for own, made in zip(recordings, generator.refine(recordings, known, [5, 6]), strict=True):
            np.testing.assert_array_equal(made[:, :COARSE], own[:, :COARSE])
            np.testing.assert_array_equal(made[:known], own[:known])
            assert (made[known:, COARSE:] != own[known:, COARSE:]).mean() > 0.5
            assert made.dtype == np.int32


def test_batch_mates_change_nothing_and_seeds_do(generator, recordings):
    together = generator.refine([*recordings, recordings[1]], 10, [5, 6, 7])
    for place, seed in ((0, 5), (1, 6), (1, 7)):
        alone = generator.refine([recordings[place]], 10, [seed])[0]
        np.testing.assert_array_equal(alone, together[seed - 5])
    assert not np.array_equal(together[1], together[2])


def test_the_sampling_is_that_of_the_fine_stage(generator, recordings):
    cold = generator.sampled({"fine": Sampling(0.0)})
    first, second = (cold.refine([recordings[1]], 0, [seed])[0] for seed in (1, 2))
    np.testing.assert_array_equal(first, second)


def test_without_a_fine_stage_there_is_nothing_to_write(generator, recordings):
    stages = {name: x for name, x in generator.bundle.stages.items() if name != "fine"}
    bundle = dataclasses.replace(generator.bundle, stages=stages)
    with pytest.raises(InputError, match="the bundle has no fine stage"):
        Generator(bundle, generator.config).refine(recordings, 0, [0, 1])
