"""The road from prompt to waveform, on a bundle of tiny untrained models."""

import numpy as np
import pytest
from flax import nnx
from support.tiny_models import LEVELS, voice

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.stages import condition_tokens, flatten_levels
from audiolm_jax.types import AudioBatch

HOP = 320


@pytest.fixture(scope="module")
def generator(tiny_bundle):
    return Generator(load_bundle(tiny_bundle), GenerationConfig(context_seconds=1.0))


def test_same_seed_same_sound_and_another_seed_another(generator):
    prompt = voice(1.0, 120)
    first, again, other = (
        generator.continue_audio([prompt], 1.0, [seed])[0].samples for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_prompt_and_continuation_have_the_demanded_lengths(generator):
    # 1.03 s is cut to 25 semantic frames of 40 ms; 2.4 s need several windows of at most 2 s.
    result = generator.continue_audio([voice(1.03, 150)], 2.4, [0])[0]
    assert result.prompt_samples == 25 * 640
    assert result.codes.shape == (50 + 120, LEVELS)
    assert len(result.samples) == (50 + 120) * HOP


@pytest.mark.slow  # test_decode has it of rows, test_joints of what the rows are given
def test_a_prompt_gets_in_a_batch_what_it_gets_alone(generator):
    prompts = [voice(1.0, 100, 1), voice(0.6, 200, 2)]
    together = generator.continue_audio(prompts, 0.8, [5, 6])
    for prompt, seed, result in zip(prompts, (5, 6), together, strict=True):
        alone = generator.continue_audio([prompt], 0.8, [seed])[0]
        np.testing.assert_array_equal(alone.codes, result.codes)


def test_what_follows_the_prompt_cannot_leak_into_it(generator):
    sound = voice(2.0, 110)
    changed = np.concatenate([sound[:16000], voice(1.0, 300, 9)])
    results = [generator.continue_audio([s[:16000]], 0.4, [1])[0] for s in (sound, changed)]
    np.testing.assert_array_equal(results[0].codes, results[1].codes)


def test_the_prompts_codes_stand_unchanged_before_the_continuation(generator):
    prompt = voice(1.0, 140)
    codes = np.asarray(generator.bundle.codec.encode(AudioBatch.from_clips([prompt])).codes)[0]
    result = generator.continue_audio([prompt], 0.4, [0])[0]
    np.testing.assert_array_equal(result.codes[: len(codes)], codes)


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
    result = generator.revoice(speech, 0)
    assert len(result.samples) == len(speech) // 640 * 640
    np.testing.assert_array_equal(result.samples, generator.revoice(speech, 0).samples)


@pytest.mark.slow
def test_end_tokens_may_end_a_recording_early(tiny_bundle):
    """Drawn almost uniformly, an end comes within a few frames if it may come at all."""
    config = GenerationConfig(
        context_seconds=1.0, stop="end_token", semantic_temperature=50.0, coarse_temperature=50.0
    )
    free = Generator(load_bundle(tiny_bundle), config).sample(2.0, [0])
    assert free[0].ended
    assert len(free[0].codes) < 100


@pytest.mark.parametrize(
    ("seconds", "samples"), [(0.0, 16000), (-1.0, 16000), (float("nan"), 16000), (1.0, 639)]
)
def test_impossible_requests_are_refused(generator, seconds, samples):
    with pytest.raises(InputError):
        generator.continue_audio([voice(1.0, 100)[:samples]], seconds, [0])


def test_context_must_leave_room_in_the_window(tiny_bundle):
    with pytest.raises(InputError, match=r"--generation\.context-seconds"):
        Generator(load_bundle(tiny_bundle), GenerationConfig(context_seconds=2.0))
