"""Several tries at a window: how they are judged, and that nothing else changes."""

import dataclasses
import itertools

import numpy as np
import pytest
from support.recorded_stages import COARSE, STAGES, Recorder, numbered, of_stage, recorded_generator
from support.tiny_models import voice, write_tiny_bundle

from audiolm_jax.errors import InputError
from audiolm_jax.generation import pipeline
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.candidates import best_of, edits
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.generation.track import Generated
from audiolm_jax.stages import flatten_levels


def edits_by_hand(a, b):
    if not a or not b:
        return len(a) + len(b)
    exchanged = edits_by_hand(a[1:], b[1:]) + (a[0] != b[0])
    return min(exchanged, edits_by_hand(a[1:], b) + 1, edits_by_hand(a, b[1:]) + 1)


@pytest.mark.parametrize("seed", range(30))
def test_edits_are_the_fewest(seed):
    rng = np.random.default_rng(seed)
    told, heard = (rng.integers(0, 3, rng.integers(0, 7)) for _ in range(2))
    assert edits(told, heard) == edits_by_hand(told.tolist(), heard.tolist())


def test_the_try_that_says_most_of_it_is_kept_and_of_equal_ones_the_first():
    context, told = np.full((2, 1), 7), np.array([7, 7, 1, 2, 3])
    tries = [np.array([[a], [b], [c]]) for a, b, c in ((1, 9, 9), (1, 2, 9), (9, 2, 3), (2, 3, 9))]
    hear = lambda sounds: [codes[:, 0] for codes in sounds]  # noqa: E731
    assert best_of(tries, context, told, hear) == 1


@pytest.fixture
def calls(monkeypatch):
    """The calls of the stages. Stage 2 says what it was told, of which the first try gets three
    tokens wrong, the second none and the third one, and so on."""
    wrong = itertools.cycle([3, 0, 1])

    def says(prompt, frames):
        condition = prompt[1 : list(prompt).index(2)] - 4
        numbers = np.repeat(condition[len(condition) - frames // 2 :], 2)
        return np.where(np.arange(frames) < 2 * next(wrong), 1990, numbers)

    for name, value in (("calls", []), ("ends", {}), ("says", staticmethod(says))):
        monkeypatch.setattr(Recorder, name, value, raising=False)
    monkeypatch.setattr(Recorder, "fresh", itertools.count(1000), raising=False)
    monkeypatch.setattr(pipeline, "StageDecoder", Recorder)
    return Recorder.calls


def test_each_window_keeps_its_best_try_and_all_goes_on_from_it(calls):
    once = recorded_generator().revoice([numbered(180)], [3])[0]
    keys = {key for call in of_stage(calls, "coarse") for key in call["keys"]}
    assert (once.codes[:6, 0] == 1990).all()
    calls.clear()
    result = recorded_generator(candidates=3).revoice([numbered(180)], [3])[0]
    spoken = np.repeat(np.arange(0, 180, 2), 2)
    np.testing.assert_array_equal(result.codes[:, 0], spoken)
    ids = flatten_levels(result.codes[:, :COARSE], 0, STAGES["coarse"])
    np.testing.assert_array_equal(result.log_probs["coarse"], -ids.astype(np.float32))
    asked = [call["keys"] for call in of_stage(calls, "coarse")]
    assert [len(row) for row in asked] == [3, 3, 3]
    assert len({key for row in asked for key in row}) == 9
    assert {row[0] for row in asked} == keys  # of the first try as if there were no other


def test_items_are_tried_each_for_itself(calls):
    results = recorded_generator(candidates=3).revoice([numbered(100), numbered(80, 300)], [3, 4])
    for result, first in zip(results, (0, 300), strict=True):
        numbers = first + np.arange(len(result.codes))
        np.testing.assert_array_equal(result.codes[:, 0], numbers // 2 * 2)


@pytest.fixture(scope="module", params=[(), ("semantic", "coarse")])
def bundle(request, tmp_path_factory):
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("tries"), timed=request.param))


def test_a_stream_is_the_whole_and_no_batch_mate_changes_it(bundle):
    config = GenerationConfig(context_seconds=1.0, candidates=3, coarse=Sampling(2.0))
    generator = Generator(bundle, config)
    prompts = [voice(0.6, 130), voice(1.0, 90)]
    together = generator.continue_audio(prompts, 1.4, [5, 6])
    alone = generator.continue_audio(prompts[1:], 1.4, [6])[0]
    stream = generator.stream(prompts[1], 1.4, 6)
    pieces = list(stream)
    assert len(pieces) > 2
    np.testing.assert_array_equal(np.concatenate(pieces), alone.samples)
    for field in dataclasses.fields(Generated):
        expected = getattr(alone, field.name)
        np.testing.assert_equal(getattr(together[1], field.name), expected)
        np.testing.assert_equal(getattr(stream.result, field.name), expected)


def test_a_stage_that_is_told_nothing_cannot_be_judged(tmp_path):
    bundle = load_bundle(write_tiny_bundle(tmp_path, semantic_condition=False))
    with pytest.raises(InputError, match="candidates 2: this coarse stage is told no"):
        Generator(bundle, GenerationConfig(context_seconds=1.0, candidates=2))


@pytest.mark.parametrize("count", [0, 257])
def test_the_number_of_tries_has_bounds(count):
    with pytest.raises(InputError, match=f"--generation.candidates {count}: expected 1 to 256"):
        GenerationConfig(candidates=count)
