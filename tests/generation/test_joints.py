"""How the stages are joined: what each is told, with which key, and where its tokens go."""

import dataclasses
import itertools

import numpy as np
import pytest
from support.recorded_stages import (
    COARSE,
    HOP,
    LEVELS,
    SAMPLING,
    STAGES,
    FakeCodec,
    Recorder,
    coarse_prompt,
    fine_prompt,
    numbered,
    of_stage,
    recorded_generator,
)

from audiolm_jax.generation import pipeline
from audiolm_jax.generation.track import Generated
from audiolm_jax.stages import BOS, FIRST_ID, SEP, flatten_levels


@pytest.fixture
def calls(monkeypatch):
    """The calls of the stages in their order; numbers from 1000 on are written by them."""
    monkeypatch.setattr(Recorder, "calls", [], raising=False)
    monkeypatch.setattr(Recorder, "ends", {}, raising=False)
    monkeypatch.setattr(Recorder, "fresh", itertools.count(1000), raising=False)
    monkeypatch.setattr(Recorder, "says", None, raising=False)
    monkeypatch.setattr(pipeline, "StageDecoder", Recorder)
    return Recorder.calls


def test_stage_1_hears_the_prompt_and_then_all_that_it_wrote(calls):
    recorded_generator().continue_audio([numbered(40)], 2.0, [3])
    first, second = of_stage(calls, "semantic")
    heard = np.arange(0, 40, 2)
    np.testing.assert_array_equal(first["prompts"][0], [BOS, *heard + FIRST_ID])
    # 60 frames are 1.2 s, and 24 tokens at 20 a second; then the 40 frames that are left, 16.
    assert first["offsets"] == [20]
    assert first["steps"] == [24]
    wrote = np.arange(1000, 1024)
    np.testing.assert_array_equal(second["prompts"][0], [BOS, *np.append(heard, wrote) + FIRST_ID])
    assert second["offsets"] == [44]
    assert second["steps"] == [16]


def test_without_stage_3_the_coarse_levels_are_all_that_is_written_and_decoded(calls):
    with_it = recorded_generator().continue_audio([numbered(40)], 1.0, [3])[0]
    wanted = [(c["stage"], c["keys"], c["steps"]) for c in calls if c["stage"] != "fine"]
    calls.clear()
    Recorder.fresh = itertools.count(1000)
    generator = recorded_generator(coarse_only=True)
    made = generator.continue_audio([numbered(40)], 1.0, [3])[0]
    assert [(c["stage"], c["keys"], c["steps"]) for c in calls] == wanted
    assert with_it.codes.shape == (90, LEVELS)
    np.testing.assert_array_equal(made.codes, with_it.codes[:, :COARSE])
    np.testing.assert_array_equal(made.samples, with_it.samples)  # the fake's are of level 0
    assert set(made.log_probs) == {"semantic", "coarse"}
    Recorder.fresh = itertools.count(1000)
    streamed = generator.stream(numbered(40), 1.0, 3)
    np.testing.assert_array_equal(np.concatenate(list(streamed)), made.samples)
    assert generator.sample(1.0, [0])[0].codes.shape == (50, COARSE)
    assert generator.revoice([numbered(40)], [0])[0].codes.shape == (40, COARSE)


def test_stage_1_is_told_each_run_of_equal_tokens_once(calls):
    sound = np.repeat(np.array([7, 7, 7, 7, 9, 9], np.float32), HOP)
    recorded_generator().continue_audio([sound], 0.4, [0])
    np.testing.assert_array_equal(calls[0]["prompts"][0], [BOS, 7 + FIRST_ID, 9 + FIRST_ID])


def test_stage_1_keeps_the_newest_history_that_its_window_holds(calls):
    recorded_generator().continue_audio([numbered(300)], 0.4, [0])
    (call,) = of_stage(calls, "semantic")
    newest = np.arange(300 - 2 * (100 - 8), 300, 2)  # a window of 100 tokens, of which 8 are new
    np.testing.assert_array_equal(call["prompts"][0], [BOS, *newest + FIRST_ID])


def test_stage_2_is_told_the_tokens_of_context_and_window_and_hears_the_context(calls):
    recorded_generator().continue_audio([numbered(40)], 2.0, [3])
    first, second = of_stage(calls, "coarse")
    wrote = np.arange(1000, 1024)  # by stage 1
    clusters = np.append(np.arange(0, 40, 2), wrote)
    np.testing.assert_array_equal(first["prompts"][0], coarse_prompt(clusters, np.arange(40)))
    assert first["offsets"] == [40 * COARSE]
    assert first["steps"] == [60 * COARSE]
    # The context of the second window is the end of what is there, 60 frames as 40 are to come:
    # those that stage 2 wrote, whose tokens are heard anew in their sound.
    recent = np.arange(1024, 1084)
    told = np.append(recent[::2], np.arange(1084, 1100))
    np.testing.assert_array_equal(second["prompts"][0], coarse_prompt(told, recent))
    assert second["offsets"] == [60 * COARSE]
    assert second["steps"] == [40 * COARSE]


def test_stage_3_goes_on_from_all_levels_before_each_chunk(calls):
    result = recorded_generator().continue_audio([numbered(40)], 0.8, [3])[0]
    numbers = np.append(np.arange(40), np.arange(1016, 1056))  # after 16 semantic tokens, 40 frames
    chunks = of_stage(calls, "fine")
    # Of a crop of 30 frames half are known, and the first chunk is small.
    for call, first, new in zip(chunks, (40, 50, 65), (10, 15, 15), strict=True):
        known, written = numbers[first - 15 : first], numbers[first : first + new]
        np.testing.assert_array_equal(call["prompts"][0], fine_prompt(known, written))
        assert (call["offsets"], call["steps"]) == ([15 * 2], [new * 2])
    np.testing.assert_array_equal(result.codes, numbers[:, None] + np.arange(LEVELS))
    np.testing.assert_array_equal(result.samples, np.repeat(numbers, HOP))


def test_stage_3_knows_what_there_is_of_a_beginning(calls):
    recorded_generator().sample(0.4, [3])
    first, second = of_stage(calls, "fine")
    numbers = np.arange(1008, 1028)
    np.testing.assert_array_equal(first["prompts"][0], fine_prompt(numbers[:0], numbers[:10]))
    np.testing.assert_array_equal(second["prompts"][0], fine_prompt(numbers[:10], numbers[10:]))


def test_stage_3_is_told_nothing_of_what_was_before_and_writes_all_chunks_at_once(calls):
    """As in the paper."""
    generator = recorded_generator(fine_context_share=0.0)
    result = generator.continue_audio([numbered(40)], 1.0, [3])[0]
    (fine,) = of_stage(calls, "fine")
    numbers = np.arange(1020, 1070)  # after 20 semantic tokens, 50 frames; the first 10 of a chunk
    chunks = numbers[:10], numbers[10:40], numbers[40:]
    for prompt, chunk in zip(fine["prompts"], chunks, strict=True):
        np.testing.assert_array_equal(prompt, fine_prompt(chunk[:0], chunk))
    assert fine["steps"] == [10 * 2, 30 * 2, 10 * 2]
    assert fine["offsets"] == [0, 0, 0]
    every = np.append(np.arange(40), numbers)
    np.testing.assert_array_equal(result.codes, every[:, None] + np.arange(LEVELS))
    np.testing.assert_array_equal(result.samples, np.repeat(every, HOP))


def test_every_draw_has_a_key_of_its_own_that_its_seed_alone_decides(calls):
    generator = recorded_generator()
    generator.continue_audio([numbered(50), numbered(50, 100)], 2.0, [3, 4])
    together = [(c["stage"], row, key) for c in calls for row, key in enumerate(c["keys"])]
    keys = [key for _, _, key in together]
    assert len(set(keys)) == len(keys) == 2 * (2 + 2 + 8)  # two windows, eight chunks
    calls.clear()
    generator.continue_audio([numbered(50, 100)], 2.0, [4])
    assert {key for call in calls for key in call["keys"]} < set(keys)


def test_a_sample_begins_from_nothing(calls):
    results = recorded_generator().sample(2.4, [5, 6])  # more than a window
    first = {call["stage"]: call for call in calls[:2]}
    for prompt in first["semantic"]["prompts"]:
        np.testing.assert_array_equal(prompt, [BOS])
    for row, prompt in enumerate(first["coarse"]["prompts"]):
        told = np.arange(1000, 1040) + 40 * row  # 2 s at 20 a second
        np.testing.assert_array_equal(prompt, coarse_prompt(told, np.zeros(0, int)))
    assert [call["offsets"] for call in first.values()] == [[0, 0], [0, 0]]
    assert [len(result.codes) for result in results] == [120, 120]
    assert not any(result.prompt_samples for result in results)


def test_each_stage_has_its_sampling_and_ends_only_where_it_may(calls):
    recorded_generator().continue_audio([numbered(40)], 2.0, [0])
    assert [c["sampling"] for c in calls] == [SAMPLING[c["stage"]] for c in calls]
    assert {c["sampling"] for c in calls} == set(SAMPLING.values())
    assert not any(any(call["end"]) for call in calls)
    calls.clear()
    recorded_generator(stop="end_token").continue_audio([numbered(40)], 1.0, [0])
    ends = [(c["stage"], *set(c["end"])) for c in calls]
    assert ends == [("semantic", True), ("coarse", False), *[("fine", False)] * 4]


def test_stage_2_may_end_once_stage_1_has_ended_and_then_the_recording_ends(calls, monkeypatch):
    _say_slowly(monkeypatch, 4)  # and so before all is spoken
    Recorder.ends = {"semantic": 5, "coarse": 10 * COARSE}
    result = recorded_generator(stop="end_token").continue_audio([numbered(40)], 2.0, [0])[0]
    assert result.ended
    assert len(result.codes) == 50
    assert [call["end"] for call in of_stage(calls, "coarse")] == [[True]]


def test_revoice_tells_each_window_the_tokens_of_its_own_time(calls):
    result = recorded_generator().revoice([numbered(180)], [0])[0]
    assert not of_stage(calls, "semantic")
    first, second, third = of_stage(calls, "coarse")
    z = np.arange(0, 180, 2)
    np.testing.assert_array_equal(first["prompts"][0], coarse_prompt(z[:50], np.zeros(0, int)))
    wrote = np.arange(1000, 1100)
    np.testing.assert_array_equal(second["prompts"][0], coarse_prompt(z[25:75], wrote[50:]))
    wrote = np.arange(1000, 1150)
    np.testing.assert_array_equal(third["prompts"][0], coarse_prompt(z[40:90], wrote[80:]))
    assert [c["steps"][0] // COARSE for c in (first, second, third)] == [100, 50, 30]
    np.testing.assert_array_equal(result.codes[:, 0], np.arange(1000, 1180))


def test_batch_mates_change_nothing(calls):
    def asked() -> dict:
        return {
            key: (call["stage"], offset, steps, len(prompt))
            for call in calls
            for key, offset, steps, prompt in zip(
                call["keys"], call["offsets"], call["steps"], call["prompts"], strict=True
            )
        }

    generator = recorded_generator()
    generator.continue_audio([numbered(20)], 1.8, [0])
    alone = asked()
    calls.clear()
    results = generator.continue_audio([numbered(20), numbered(50)], 1.8, [0, 1])
    assert asked() | alone == asked()
    assert [len(result.codes) for result in results] == [110, 140]


def test_stage_2_hears_the_whole_prompt_where_all_fits_its_window(calls):
    """AudioLM section III-D: the acoustic prompt is the whole prompt; piano prompts are 4 s."""
    recorded_generator().continue_audio(
        [numbered(70)], 0.6, [0]
    )  # 70 frames of prompt and 30 are a window
    (call,) = of_stage(calls, "coarse")
    told = np.append(np.arange(0, 70, 2), np.arange(1000, 1012))
    np.testing.assert_array_equal(call["prompts"][0], coarse_prompt(told, np.arange(70)))
    calls.clear()
    recorded_generator().continue_audio(
        [numbered(72)], 1.6, [0]
    )  # 50 frames to come, of 80: 30 beside 70
    assert [call["offsets"][0] // COARSE for call in of_stage(calls, "coarse")] == [50, 70]
    assert list(_told(of_stage(calls, "coarse")[0])[:25]) == list(range(22, 72, 2))


def test_stage_1_is_not_asked_again_after_its_end(calls):
    Recorder.ends = {"semantic": 5}
    result = recorded_generator(stop="end_token").continue_audio([numbered(40)], 2.0, [0])[0]
    assert len(of_stage(calls, "semantic")) == 1
    assert result.ended
    assert len(result.codes) == 100  # stage 2 spoke to the end of its window


def test_an_end_where_all_was_made_that_was_asked_for_is_none(calls):
    Recorder.ends = {"semantic": 5}
    result = recorded_generator(stop="end_token").continue_audio([numbered(40)], 1.2, [0])[0]
    assert not result.ended
    assert len(result.codes) == 100


@pytest.mark.parametrize("latency", [0, 7])
def test_a_stream_is_the_whole_in_pieces_and_begins_early(calls, monkeypatch, latency):
    monkeypatch.setattr(FakeCodec, "latency", latency)
    generator = recorded_generator()
    whole = generator.continue_audio([numbered(40)], 2.0, [3])[0]
    asked = [{**call, "keys": sorted(call["keys"])} for call in calls]
    calls.clear()
    monkeypatch.setattr(Recorder, "fresh", itertools.count(1000))
    stream = generator.stream(numbered(40), 2.0, 3)
    with pytest.raises(ValueError, match="end"):
        _ = stream.result
    pieces = [next(stream), next(stream)]
    assert [call["stage"] for call in calls] == ["semantic", "coarse", "fine"]
    assert sum(map(len, pieces)) == (40 + 10 - latency) * HOP
    pieces += stream
    np.testing.assert_array_equal(np.concatenate(pieces), whole.samples)
    for field in dataclasses.fields(Generated):
        np.testing.assert_equal(getattr(stream.result, field.name), getattr(whole, field.name))
    np.testing.assert_equal(of_stage(calls, "coarse"), of_stage(asked, "coarse"))
    assert {k for c in of_stage(calls, "fine") for k in c["keys"]} == {
        k for c in of_stage(asked, "fine") for k in c["keys"]
    }


def _told(call: dict) -> np.ndarray:
    """Clusters of the condition that stage 2 was told."""
    prompt = list(call["prompts"][0])
    return np.array(prompt[1 : prompt.index(SEP)]) - FIRST_ID


def _say_slowly(monkeypatch, frames_of_token: int) -> None:
    """Stage 2 speaks each token that its context has not spoken for so many frames."""

    def says(prompt: np.ndarray, frames: int) -> np.ndarray:
        stage, end = STAGES["coarse"], list(prompt).index(SEP)
        told, context = prompt[1:end] - FIRST_ID, prompt[end + 1 :: COARSE] - stage.acoustic_start
        spoken = np.searchsorted(told, context[-1], "right") if len(context) else 0
        return np.resize(np.repeat(told[spoken:], frames_of_token), frames)

    monkeypatch.setattr(Recorder, "says", staticmethod(says))


def test_what_a_window_has_not_spoken_is_told_to_the_next(calls, monkeypatch):
    _say_slowly(monkeypatch, 4)
    recorded_generator().continue_audio([numbered(40)], 2.0, [3])
    # 60 frames speak 15 of the 24 tokens written for them; the next 40 are 16 tokens, 9 of which
    # waited.
    np.testing.assert_array_equal(_told(of_stage(calls, "coarse")[1]), np.arange(1000, 1031))
    assert of_stage(calls, "semantic")[1]["steps"] == [7]


def test_a_window_is_told_no_more_than_its_time_can_hold(calls, monkeypatch):
    _say_slowly(monkeypatch, 6)
    result = recorded_generator().continue_audio([numbered(40)], 1.4, [3])[0]
    first, second = of_stage(calls, "coarse")
    assert (first["steps"], second["steps"]) == ([60 * COARSE], [10 * COARSE])
    # 60 frames speak 10 tokens; 14 wait for 10 frames, which are 5 semantic ones.
    assert list(_told(second)[-15:]) == list(range(1000, 1015))
    assert len(of_stage(calls, "semantic")) == 1
    np.testing.assert_array_equal(result.semantic[20:], np.arange(1000, 1024))


def test_tokens_that_wait_for_two_windows_keep_their_order(calls, monkeypatch):
    _say_slowly(monkeypatch, 10)
    recorded_generator().sample(4.0, [0])
    # Windows of 100, 50 and 50 frames. 10 of 40 tokens are spoken, 25 are told again, 5 wait; then
    # 5 of the 25 are spoken.
    heard, told = np.arange(1005, 1010), np.arange(1010, 1035)
    assert list(_told(of_stage(calls, "coarse")[1])) == [*heard, *told]
    assert list(_told(of_stage(calls, "coarse")[2])) == list(range(1010, 1040))


def test_what_waits_after_the_end_of_stage_1_is_spoken_before_the_recording_ends(
    calls, monkeypatch
):
    _say_slowly(monkeypatch, 6)
    Recorder.ends = {"semantic": 20}
    result = recorded_generator(stop="end_token").continue_audio([numbered(40)], 4.0, [3])[0]
    first, second, third = of_stage(calls, "coarse")
    assert [call["end"] for call in (first, second, third)] == [[True]] * 3
    assert list(_told(second)) == list(range(1001, 1020))  # those heard in 50 frames, and the rest
    assert list(_told(third)[-2:]) == [1018, 1019]
    assert result.ended
    assert len(result.codes) == 40 + 60 + 50 + 50


def test_log_probabilities_stand_in_the_order_of_the_tokens(calls):
    result = recorded_generator().continue_audio([numbered(40)], 2.0, [3])[0]
    np.testing.assert_array_equal(result.log_probs["semantic"], -(result.semantic[20:] + FIRST_ID))
    new = result.codes[40:]
    for name, first, stop in (("coarse", 0, COARSE), ("fine", COARSE, LEVELS)):
        ids = flatten_levels(new[:, first:stop], first, STAGES[name])
        np.testing.assert_array_equal(result.log_probs[name], -ids.astype(np.float32))


def test_scoring_reads_each_stage_in_windows_of_its_crop(calls):
    scores = recorded_generator().score(numbered(240)[:-1])  # of which 238 frames are whole tokens
    numbers = np.arange(238)
    coarse = [np.arange(a, b) for a, b in ((0, 100), (100, 200), (200, 238))]
    for call, chunk in zip(of_stage(calls, "coarse"), coarse, strict=True):
        np.testing.assert_array_equal(call["tokens"], coarse_prompt(chunk[::2], chunk))
    assert len(of_stage(calls, "fine")) == 8
    np.testing.assert_array_equal(scores["semantic"], -(numbers[::2] + FIRST_ID))
    for name, first, stop in (("coarse", 0, COARSE), ("fine", COARSE, LEVELS)):
        codes = numbers[:, None] + np.arange(first, stop)
        expected = -flatten_levels(codes, first, STAGES[name]).astype(np.float32)
        np.testing.assert_array_equal(scores[name], expected)
