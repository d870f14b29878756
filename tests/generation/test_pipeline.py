"""The road from prompt to waveform, on a bundle of tiny untrained models."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from support.tiny_models import CLUSTERS, LEVELS, voice

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.stages import condition_tokens, deduplicate, flatten_levels
from audiolm_jax.types import AudioBatch

HOP = 320


@pytest.fixture(scope="module")
def generator(tiny_bundle):
    return Generator(load_bundle(tiny_bundle), GenerationConfig(context_seconds=1.0))


def equal(first, second):
    """Every field of two results, bit for bit."""
    for field in dataclasses.fields(first):
        np.testing.assert_equal(getattr(first, field.name), getattr(second, field.name))


def test_a_result_depends_on_its_prompt_and_seed_alone_streamed_or_not(generator):
    prompts = [voice(1.0, 100, 1), voice(0.6, 200, 2), voice(1.0, 100, 1)]
    # 2.4 s need several windows of at most 2 s.
    together = generator.continue_audio(prompts, 2.4, [5, 6, 2**64 - 1])
    assert not np.array_equal(together[0].samples, together[2].samples)
    stream = generator.stream(prompts[1], 2.4, 6)
    pieces = list(stream)
    np.testing.assert_array_equal(np.concatenate(pieces), together[1].samples)
    assert len(pieces) >= 4
    equal(stream.result, together[1])


@pytest.mark.slow
def test_batches_of_one_four_and_seven_give_the_same_bits(generator):
    prompts = [voice(0.4 + 0.2 * i, 90 + 20 * i, i) for i in range(7)]
    seeds = [3, 2**32 + 3, 2**63, 0, 1, 2, 2**64 - 1]
    seven = generator.continue_audio(prompts, 3.0, seeds)
    four = generator.continue_audio(prompts[3:], 3.0, seeds[3:])
    for first, second in zip(seven[3:], four, strict=True):
        equal(first, second)
    for prompt, seed, result in zip(prompts, seeds, seven, strict=True):
        equal(generator.continue_audio([prompt], 3.0, [seed])[0], result)


def test_prompt_and_continuation_have_the_demanded_lengths(generator):
    # 1.03 s is cut to 25 semantic frames of 40 ms.
    result = generator.continue_audio([voice(1.03, 150)], 1.0, [0])[0]
    assert result.prompt_samples == 25 * 640
    assert result.codes.shape == (50 + 50, LEVELS)
    assert len(result.samples) == (50 + 50) * HOP


def test_the_prompts_codes_stand_unchanged_before_the_continuation(generator):
    prompt = voice(1.0, 140)
    codes = np.asarray(generator.bundle.codec.encode(AudioBatch.from_clips([prompt])).codes)[0]
    result = generator.continue_audio([prompt], 0.4, [0])[0]
    np.testing.assert_array_equal(result.codes[: len(codes)], codes)


@pytest.mark.slow
def test_changing_the_voice_changes_the_coarse_logits(generator):
    """Same semantic tokens, another voice in the acoustic prompt: other next coarse tokens."""
    bundle = generator.bundle
    config = bundle.stages["coarse"].config
    model = nnx.merge(*load_decoder(config, bundle.stages["coarse"].folder.arrays))
    semantic = np.array([1, 2, 3, 4, 5, 6])

    def logits(sound):
        codes = np.asarray(bundle.codec.encode(AudioBatch.from_clips([sound])).codes)[0]
        coarse = codes[:, : config.stage.coarse_levels]
        condition = condition_tokens(semantic, codes, config.stage)
        tokens = np.concatenate([condition, flatten_levels(coarse, 0, config.stage)])
        return np.asarray(model(tokens[None]))[0, -1]

    low, high = voice(1.0, 90), voice(1.0, 260)
    np.testing.assert_array_equal(logits(low), logits(low.copy()))
    assert np.abs(logits(low) - logits(high)).max() > 1e-3


@pytest.mark.slow
def test_sample_from_nothing(generator):
    results = generator.sample(2.6, [0, 1])
    assert [len(r.samples) for r in results] == [130 * HOP] * 2
    assert all(r.prompt_samples == 0 for r in results)
    assert not np.array_equal(results[0].codes, results[1].codes)


def test_revoice_keeps_the_duration(generator):
    speech = voice(2.9, 130)
    (result,) = generator.revoice([speech], [0])
    assert len(result.samples) == len(speech) // 640 * 640
    np.testing.assert_array_equal(result.samples, generator.revoice([speech], [0])[0].samples)


def test_revoiced_together_as_alone(generator):
    """Speech of several windows beside shorter speech, in any order."""
    speeches, seeds = [voice(2.9, 130), voice(0.7, 180), voice(2.1, 220)], [3, 1, 2]
    together = generator.revoice(speeches, seeds)
    for speech, seed, result in zip(speeches, seeds, together, strict=True):
        alone = generator.revoice([speech], [seed])[0]
        np.testing.assert_array_equal(result.codes, alone.codes)
        np.testing.assert_array_equal(result.samples, alone.samples)


@pytest.mark.slow
def test_end_tokens_may_end_a_recording_early(tiny_bundle):
    """Drawn almost uniformly, an end comes within a few frames if it may come at all."""
    config = GenerationConfig(Sampling(50.0), Sampling(50.0), context_seconds=1.0, stop="end_token")
    free = Generator(load_bundle(tiny_bundle), config).sample(6.0, [0])
    assert free[0].ended
    assert len(free[0].codes) < 300


@pytest.mark.parametrize(
    ("seconds", "samples"), [(0.0, 16000), (-1.0, 16000), (float("nan"), 16000), (1.0, 639)]
)
def test_impossible_requests_are_refused(generator, seconds, samples):
    with pytest.raises(InputError):
        generator.continue_audio([voice(1.0, 100)[:samples]], seconds, [0])


def test_context_must_leave_room_in_the_window(tiny_bundle):
    with pytest.raises(InputError, match=r"--generation\.context-seconds"):
        Generator(load_bundle(tiny_bundle), GenerationConfig(context_seconds=2.0))


def test_what_is_spoken_in_place_of_stage_one_is_what_it_would_have_written(generator):
    """The same tokens give the same sound, over several windows, alone or beside others."""
    prompts = [voice(1.0, 100, 1), voice(0.6, 200, 2)]
    written = generator.continue_audio(prompts, 2.4, [5, 6])
    scripts = []
    for prompt, result in zip(prompts, written, strict=True):
        heard = deduplicate(generator.encode(prompt)[1])
        np.testing.assert_array_equal(result.semantic[: len(heard)], heard)
        scripts.append(result.semantic[len(heard) :])
    spoken = generator.speak(prompts, scripts, 2.4, [5, 6])
    for first, second in zip(written, spoken, strict=True):
        np.testing.assert_array_equal(first.samples, second.samples)
        np.testing.assert_array_equal(first.semantic, second.semantic)
        assert "semantic" not in second.log_probs
    doubled = generator.speak(prompts[:1], [np.repeat(scripts[0], 2)], 2.4, [5])
    np.testing.assert_array_equal(doubled[0].samples, written[0].samples)
    other = generator.speak(prompts[:1], [scripts[0][::-1]], 2.4, [5])
    # Of so small a model few draws change, but all that it thinks of them.
    heard, read = (result[0].log_probs["coarse"] for result in (written, other))
    assert not np.array_equal(heard, read)


def test_what_cannot_be_spoken_is_refused(generator):
    prompt = [voice(0.6, 200, 2)]
    for clusters, found in (
        ([], "none"),
        ([0, CLUSTERS], f"0 to {CLUSTERS}"),
        ([-1, 2], "-1 to 2"),
    ):
        with pytest.raises(InputError, match=f"semantic clusters: {found}, expected at least one"):
            generator.speak(prompt, [np.array(clusters, np.int32)], 1.0, [0])
