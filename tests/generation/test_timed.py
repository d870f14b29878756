"""Stages whose semantic tokens are one a frame: each unit lasts its 40 ms, none waits."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_models import CLUSTERS, voice, write_tiny_bundle
from support.tiny_stages import make_stage

from audiolm_jax.errors import InputError
from audiolm_jax.generation import decode
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.stages import build_sequence


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    timed = ("semantic", "coarse", "fine")
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("timed"), timed=timed))


@pytest.fixture(scope="module")
def generator(bundle):
    return Generator(bundle, GenerationConfig(context_seconds=1.0))


@pytest.mark.parametrize("name", ["coarse", "fine"])
def test_what_is_written_step_by_step_scores_as_in_one_pass(name, monkeypatch):
    """Prompts with and without known targets, rows of unequal lengths."""
    monkeypatch.setattr(decode, "BUCKET", 8)
    config, arrays = make_stage(name, position="time")
    decoder, rng = StageDecoder(config, arrays), np.random.default_rng(0)
    sequences = [
        build_sequence(rng.integers(0, 6, u), rng.integers(0, 7, (2 * u, 3)), False, config.stage)
        for u in (3, 9, 5)
    ]
    known = [0, 4, 2]
    prompts = [s.tokens[: s.target_start + n] for s, n in zip(sequences, known, strict=True)]
    keys = jnp.stack([seed_key(i) for i in range(3)])
    sampling = Sampling(1.0)
    made = decoder.generate(prompts, known, [8, 3, 12], keys, sampling, [False] * 3)
    for sequence, prompt, n, out in zip(sequences, prompts, known, made, strict=True):
        tokens = np.concatenate([prompt, out.ids])
        scores = decoder.score(tokens, sequence.target_start)
        np.testing.assert_allclose(scores[n:], out.log_probs, rtol=1e-4, atol=1e-4)
    placed = dataclasses.replace(config.decoder, position="rope")
    other = StageDecoder(dataclasses.replace(config, decoder=placed), arrays)
    scores = other.score(np.concatenate([prompts[1], made[1].ids]), sequences[1].target_start)
    assert np.abs(scores[4:] - made[1].log_probs).max() > 1e-2


def test_units_and_sound_run_side_by_side_streamed_or_not(generator):
    prompts = [voice(1.0, 100, 1), voice(0.6, 200, 2)]
    results = generator.continue_audio(prompts, 2.4, [5, 6])  # several windows of at most 2 s
    for prompt, result in zip(prompts, results, strict=True):
        heard = generator.encode(prompt)[1]
        np.testing.assert_array_equal(result.semantic[: len(heard)], heard)
        assert 2 * len(result.semantic) == len(result.codes) == 2 * len(heard) + 120
        assert len(result.log_probs["semantic"]) == 60
        assert (np.diff(result.semantic[len(heard) :]) == 0).any()
    stream = generator.stream(prompts[1], 2.4, 6)
    np.testing.assert_array_equal(np.concatenate(list(stream)), results[1].samples)
    np.testing.assert_array_equal(stream.result.semantic, results[1].semantic)


def test_a_script_lasts_a_frame_a_unit_and_ends_the_sound(generator):
    prompts = [voice(1.0, 100, 1), voice(0.6, 200, 2)]
    units = np.random.default_rng(0).integers(0, CLUSTERS, 41).astype(np.int32)
    scripts = [units, np.repeat(units[:5], 3)]
    results = generator.speak(prompts, scripts, 2.4, [5, 6])
    for result, heard, script in zip(results, (25, 15), scripts, strict=True):
        np.testing.assert_array_equal(result.semantic[heard:], script)
        assert len(result.codes) == 2 * (heard + len(script))
        assert result.ended
        assert len(result.samples) == 320 * len(result.codes)
    whole = generator.speak(prompts[:1], [np.resize(units, 60)], 2.4, [5])
    assert not whole[0].ended
    assert len(whole[0].codes) == 50 + 120


def test_stage_one_ends_the_recording_with_its_last_unit(bundle):
    config = GenerationConfig(Sampling(50.0), Sampling(50.0), context_seconds=1.0, stop="end_token")
    results = Generator(bundle, config).sample(6.0, [0, 1, 2, 3])
    assert all(2 * len(result.semantic) == len(result.codes) for result in results)
    assert sum(result.ended for result in results) >= 3
    assert len({len(result.codes) for result in results}) > 1


def test_stages_that_count_units_differently_are_no_bundle(tmp_path):
    words = "the semantic stage has deduplicate = True, the coarse stage False; train one"
    with pytest.raises(InputError, match=words):
        write_tiny_bundle(tmp_path, timed=("coarse",))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("timed", [(), ("semantic",)])
def test_a_stage_2_that_is_told_nothing_says_the_same_whatever_stage_1_writes(tmp_path, timed):
    folder = write_tiny_bundle(tmp_path, timed=timed, semantic_condition=False)
    generator = Generator(load_bundle(folder), GenerationConfig(context_seconds=1.0))
    prompts, rng = [voice(1.0, 100, 1)] * 3, np.random.default_rng(0)
    scripts = [rng.integers(0, CLUSTERS, 120).astype(np.int32) for _ in range(2)]
    first, second, other = generator.speak(prompts, [*scripts, scripts[0]], 2.4, [5, 5, 6])
    assert not np.array_equal(first.semantic, second.semantic)
    np.testing.assert_array_equal(first.samples, second.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert len(first.codes) == 50 + 120
