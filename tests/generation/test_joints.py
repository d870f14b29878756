"""How the stages are joined: what each is told, with which key, and where its tokens go.

The models are replaced by a recorder, and sound by numbers: a sample says which frame it is of, so
every token and every code of a prompt can be traced to its place.
"""

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import pytest

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.generation import pipeline
from audiolm_jax.generation.bundle import Bundle, StageModel
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.decode import Continuation, StageDecoder
from audiolm_jax.generation.pipeline import Generated, Generator
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import (
    BOS,
    FIRST_ID,
    SEP,
    StageConfig,
    flatten_levels,
    semantic_ids,
)
from audiolm_jax.types import AcousticTokens, AudioBatch, SemanticTokens

SIZE = 2000  # clusters, and codes of a level
LEVELS, COARSE = 4, 2
HOP = 2  # samples of a frame, at 100 Hz; a semantic token is two frames


def _stage(name: Any, crop_seconds: float) -> StageConfig:
    return StageConfig(name, SIZE, SIZE, LEVELS, COARSE, crop_seconds=crop_seconds)


STAGES = {
    "semantic": _stage("semantic", 4.0),  # 100 tokens
    "coarse": _stage("coarse", 2.0),  # 100 frames, of which 50 are context
    "fine": _stage("fine", 0.6),  # 30 frames
}
SAMPLING = {"semantic": Sampling(0.6, 5), "coarse": Sampling(0.8, 0, 0.9), "fine": Sampling(0.5)}


class _Numbers:
    """A codec and a semantic tokenizer: code of level 0, and token, are the number in the sound."""

    sample_rate_hz, levels, codebook_size, clusters, fingerprint = 100, LEVELS, SIZE, SIZE, "f"

    def __init__(self, hop_samples: int) -> None:
        self.hop_samples = hop_samples

    def latents(self, codes):
        raise AssertionError("generation needs no latents")


class _Codec(_Numbers):
    def encode(self, audio: AudioBatch) -> AcousticTokens:
        numbers = np.asarray(audio.samples)[:, ::HOP].round().astype(np.int32)
        return AcousticTokens(numbers[..., None] + np.arange(LEVELS), -(-audio.lengths // HOP))

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        numbers = np.asarray(tokens.codes)[..., 0].astype(np.float32)
        return AudioBatch(np.repeat(numbers, HOP, axis=1), np.asarray(tokens.lengths) * HOP)

    def open_decoder(self, block_frames: int = 1) -> "_Decoding":
        return _Decoding(self.latency)

    def open_encoder(self, block_frames: int = 1):
        raise AssertionError("generation encodes whole prompts")

    max_block_frames = 8
    latency = 0  # frames that wait for what follows


class _Decoding:
    """A stream of the codec that holds back so many frames."""

    def __init__(self, latency: int) -> None:
        self._latency, self._waiting = latency, np.zeros(0, np.float32)

    def push(self, codes: np.ndarray) -> np.ndarray:
        self._waiting = np.append(self._waiting, codes[:, 0].astype(np.float32))
        ready = max(0, len(self._waiting) - self._latency)
        out, self._waiting = self._waiting[:ready], self._waiting[ready:]
        return np.repeat(out, HOP)

    def finish(self) -> np.ndarray:
        return np.repeat(self._waiting, HOP)


class _Semantic(_Numbers):
    def encode(self, audio: AudioBatch) -> SemanticTokens:
        hop = self.hop_samples
        numbers = np.asarray(audio.samples)[:, ::hop].round().astype(np.int32)
        return SemanticTokens(numbers, -(-audio.lengths // hop))


class _Recorder(StageDecoder):
    """Stands in for StageDecoder: keeps what it is asked, writes numbers never written before."""

    calls: list[dict]
    ends: dict  # stage -> tokens after which it writes its end, once
    fresh: Any  # numbers to write
    says: Any  # condition of stage 2 -> numbers of its frames; None: fresh ones

    def __init__(self, config: StageModelConfig, arrays: dict, where: str, weights: str) -> None:
        self.config, self._stage = config, config.stage

    def open(self, prompts, target_offset, steps, keys, sampling, allow_end) -> "_Written":
        name = self._stage.name
        call = {"stage": name, "prompts": prompts, "offsets": target_offset, "steps": steps}
        data = [tuple(row) for row in np.asarray(jax.random.key_data(keys)).tolist()]
        self.calls.append({**call, "keys": data, "sampling": sampling, "end": allow_end})
        results = []
        for prompt, count, may_end in zip(prompts, steps, allow_end, strict=True):
            end = self.ends.pop(name, None) if may_end else None
            count = count if end is None else min(end, count)
            width, first = len(self._stage.target_levels), self._stage.target_levels.start
            if name == "fine":  # levels that name the frame of the coarse ones
                coarse = (prompt[1:-1] - self._stage.acoustic_start).reshape(-1, COARSE)
                numbers = coarse[:, 0]
            elif name == "coarse" and self.says is not None:
                numbers = self.says(prompt, count // width)
            else:
                numbers = np.array([next(self.fresh) for _ in range(count // width)], np.int32)
            if name == "semantic":
                ids = numbers + FIRST_ID
            else:
                codes = numbers[:, None] + np.arange(first, first + width)
                ids = flatten_levels(codes, first, self._stage)
            ids = np.asarray(ids, np.int32)
            results.append(Continuation(ids, -ids.astype(np.float32), end is not None))
        return _Written(results)

    def generate(self, *arguments) -> list[Continuation]:
        decoding = self.open(*arguments)
        decoding.advance(10**6)
        return decoding.results()


class _Written:
    """Gives out no more than it was advanced to."""

    def __init__(self, results: list[Continuation]) -> None:
        self._results, self._until = results, [0] * len(results)

    def advance(self, until) -> None:
        self._until = [until] * len(self._results) if isinstance(until, int) else until

    def results(self) -> list[Continuation]:
        return [
            Continuation(r.ids[:n], r.log_probs[:n], r.ended and n >= len(r.ids))
            for r, n in zip(self._results, self._until, strict=True)
        ]


@pytest.fixture
def calls(monkeypatch):
    """The calls of the stages in their order; numbers from 1000 on are written by them."""
    monkeypatch.setattr(_Recorder, "calls", [], raising=False)
    monkeypatch.setattr(_Recorder, "ends", {}, raising=False)
    monkeypatch.setattr(_Recorder, "fresh", itertools.count(1000), raising=False)
    monkeypatch.setattr(_Recorder, "says", None, raising=False)
    monkeypatch.setattr(pipeline, "StageDecoder", _Recorder)
    return _Recorder.calls


def _generator(**config: Any) -> Generator:
    decoder = DecoderConfig(layers=1, heads=1, head_width=2, width=2, ff_width=2)
    stages = {
        name: StageModel(StageModelConfig(stage, decoder), ModelFolder("stage", {}, {}, "f", {}))
        for name, stage in STAGES.items()
    }
    config = {"context_seconds": 1.0, "first_seconds": 0.2, **SAMPLING, **config}
    bundle = Bundle(_Codec(HOP), _Semantic(2 * HOP), stages, 20.0, "f", {})
    return Generator(bundle, GenerationConfig(**config))


def _prompt(frames: int, first: int = 0) -> np.ndarray:
    """Sound of which frame i is the number `first` + i."""
    return np.repeat(np.arange(first, first + frames), HOP).astype(np.float32)


def _of(calls: list[dict], stage: str) -> list[dict]:
    return [call for call in calls if call["stage"] == stage]


def _codes(numbers: np.ndarray) -> np.ndarray:
    """Coarse codes of frames, as the codec and the recorder give them."""
    return np.asarray(numbers)[:, None] + np.arange(COARSE)


def _coarse_prompt(clusters, numbers) -> np.ndarray:
    stage = STAGES["coarse"]
    tokens = [[BOS], semantic_ids(np.asarray(clusters), stage), [SEP]]
    return np.concatenate([*tokens, flatten_levels(_codes(numbers), 0, stage)])


def test_stage_1_hears_the_prompt_and_then_all_that_it_wrote(calls):
    _generator().continue_audio([_prompt(40)], 2.0, [3])
    first, second = _of(calls, "semantic")
    heard = np.arange(0, 40, 2)
    np.testing.assert_array_equal(first["prompts"][0], [BOS, *heard + FIRST_ID])
    # 60 frames are 1.2 s, and 24 tokens at 20 a second; then the 40 frames that are left, 16.
    assert first["offsets"] == [20]
    assert first["steps"] == [24]
    wrote = np.arange(1000, 1024)
    np.testing.assert_array_equal(second["prompts"][0], [BOS, *np.append(heard, wrote) + FIRST_ID])
    assert second["offsets"] == [44]
    assert second["steps"] == [16]


def test_stage_1_is_told_each_run_of_equal_tokens_once(calls):
    sound = np.repeat(np.array([7, 7, 7, 7, 9, 9], np.float32), HOP)
    _generator().continue_audio([sound], 0.4, [0])
    np.testing.assert_array_equal(calls[0]["prompts"][0], [BOS, 7 + FIRST_ID, 9 + FIRST_ID])


def test_stage_1_keeps_the_newest_history_that_its_window_holds(calls):
    _generator().continue_audio([_prompt(300)], 0.4, [0])
    (call,) = _of(calls, "semantic")
    newest = np.arange(300 - 2 * (100 - 8), 300, 2)  # a window of 100 tokens, of which 8 are new
    np.testing.assert_array_equal(call["prompts"][0], [BOS, *newest + FIRST_ID])


def test_stage_2_is_told_the_tokens_of_context_and_window_and_hears_the_context(calls):
    _generator().continue_audio([_prompt(40)], 2.0, [3])
    first, second = _of(calls, "coarse")
    wrote = np.arange(1000, 1024)  # by stage 1
    clusters = np.append(np.arange(0, 40, 2), wrote)
    np.testing.assert_array_equal(first["prompts"][0], _coarse_prompt(clusters, np.arange(40)))
    assert first["offsets"] == [40 * COARSE]
    assert first["steps"] == [60 * COARSE]
    # The context of the second window is the end of what is there, 60 frames as 40 are to come:
    # those that stage 2 wrote, whose tokens are heard anew in their sound.
    recent = np.arange(1024, 1084)
    told = np.append(recent[::2], np.arange(1084, 1100))
    np.testing.assert_array_equal(second["prompts"][0], _coarse_prompt(told, recent))
    assert second["offsets"] == [60 * COARSE]
    assert second["steps"] == [40 * COARSE]


def test_stage_3_gets_the_coarse_levels_in_chunks_and_every_code_its_place(calls):
    result = _generator().continue_audio([_prompt(40)], 1.0, [3])[0]
    (fine,) = _of(calls, "fine")
    numbers = np.arange(1020, 1070)  # after 20 semantic tokens, 50 frames; the first 10 of a chunk
    stage = STAGES["fine"]
    chunks = numbers[:10], numbers[10:40], numbers[40:]
    for prompt, chunk in zip(fine["prompts"], chunks, strict=True):
        np.testing.assert_array_equal(prompt, [BOS, *flatten_levels(_codes(chunk), 0, stage), SEP])
    assert fine["steps"] == [10 * 2, 30 * 2, 10 * 2]
    assert fine["offsets"] == [0, 0, 0]
    every = np.append(np.arange(40), numbers)
    np.testing.assert_array_equal(result.codes, every[:, None] + np.arange(LEVELS))
    np.testing.assert_array_equal(result.samples, np.repeat(every, HOP))


def test_every_draw_has_a_key_of_its_own_that_its_seed_alone_decides(calls):
    generator = _generator()
    generator.continue_audio([_prompt(50), _prompt(50, 100)], 2.0, [3, 4])
    together = [(c["stage"], row, key) for c in calls for row, key in enumerate(c["keys"])]
    keys = [key for _, _, key in together]
    assert len(set(keys)) == len(keys) == 2 * (2 + 2 + 5)  # two windows, five chunks
    calls.clear()
    generator.continue_audio([_prompt(50, 100)], 2.0, [4])
    assert {key for call in calls for key in call["keys"]} < set(keys)


def test_a_sample_begins_from_nothing(calls):
    results = _generator().sample(2.4, [5, 6])  # more than a window
    first = {call["stage"]: call for call in calls[:2]}
    for prompt in first["semantic"]["prompts"]:
        np.testing.assert_array_equal(prompt, [BOS])
    for row, prompt in enumerate(first["coarse"]["prompts"]):
        told = np.arange(1000, 1040) + 40 * row  # 2 s at 20 a second
        np.testing.assert_array_equal(prompt, _coarse_prompt(told, np.zeros(0, int)))
    assert [call["offsets"] for call in first.values()] == [[0, 0], [0, 0]]
    assert [len(result.codes) for result in results] == [120, 120]
    assert not any(result.prompt_samples for result in results)


def test_each_stage_has_its_sampling_and_ends_only_where_it_may(calls):
    _generator().continue_audio([_prompt(40)], 2.0, [0])
    assert [c["sampling"] for c in calls] == [SAMPLING[c["stage"]] for c in calls]
    assert {c["sampling"] for c in calls} == set(SAMPLING.values())
    assert not any(any(call["end"]) for call in calls)
    calls.clear()
    _generator(stop="end_token").continue_audio([_prompt(40)], 1.0, [0])
    ends = [(c["stage"], *set(c["end"])) for c in calls]
    assert ends == [("semantic", True), ("coarse", False), ("fine", False)]


def test_stage_2_may_end_once_stage_1_has_ended_and_then_the_recording_ends(calls):
    _Recorder.ends = {"semantic": 5, "coarse": 10 * COARSE}
    result = _generator(stop="end_token").continue_audio([_prompt(40)], 2.0, [0])[0]
    assert result.ended
    assert len(result.codes) == 50
    assert [call["end"] for call in _of(calls, "coarse")] == [[True]]


def test_revoice_tells_each_window_the_tokens_of_its_own_time(calls):
    result = _generator().revoice(_prompt(180), 0)
    assert not _of(calls, "semantic")
    first, second, third = _of(calls, "coarse")
    z = np.arange(0, 180, 2)
    np.testing.assert_array_equal(first["prompts"][0], _coarse_prompt(z[:50], np.zeros(0, int)))
    wrote = np.arange(1000, 1100)
    np.testing.assert_array_equal(second["prompts"][0], _coarse_prompt(z[25:75], wrote[50:]))
    wrote = np.arange(1000, 1150)
    np.testing.assert_array_equal(third["prompts"][0], _coarse_prompt(z[40:90], wrote[80:]))
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

    generator = _generator()
    generator.continue_audio([_prompt(20)], 1.8, [0])
    alone = asked()
    calls.clear()
    results = generator.continue_audio([_prompt(20), _prompt(50)], 1.8, [0, 1])
    assert asked() | alone == asked()
    assert [len(result.codes) for result in results] == [110, 140]


def test_stage_2_hears_the_whole_prompt_where_all_fits_its_window(calls):
    """AudioLM section III-D: the acoustic prompt is the whole prompt; piano prompts are 4 s."""
    _generator().continue_audio([_prompt(70)], 0.6, [0])  # 70 frames of prompt and 30 are a window
    (call,) = _of(calls, "coarse")
    told = np.append(np.arange(0, 70, 2), np.arange(1000, 1012))
    np.testing.assert_array_equal(call["prompts"][0], _coarse_prompt(told, np.arange(70)))
    calls.clear()
    _generator().continue_audio([_prompt(72)], 1.6, [0])  # 50 frames to come, of 80: 30 beside 70
    assert [call["offsets"][0] // COARSE for call in _of(calls, "coarse")] == [50, 70]


def test_stage_1_is_not_asked_again_after_its_end(calls):
    _Recorder.ends = {"semantic": 5}
    result = _generator(stop="end_token").continue_audio([_prompt(40)], 2.0, [0])[0]
    assert len(_of(calls, "semantic")) == 1
    assert result.ended
    assert len(result.codes) == 100  # stage 2 spoke to the end of its window


def test_an_end_where_all_was_made_that_was_asked_for_is_none(calls):
    _Recorder.ends = {"semantic": 5}
    result = _generator(stop="end_token").continue_audio([_prompt(40)], 1.2, [0])[0]
    assert not result.ended
    assert len(result.codes) == 100


@pytest.mark.parametrize("latency", [0, 7])
def test_a_stream_is_the_whole_in_pieces_and_begins_early(calls, monkeypatch, latency):
    monkeypatch.setattr(_Codec, "latency", latency)
    generator = _generator()
    whole = generator.continue_audio([_prompt(40)], 2.0, [3])[0]
    asked = [{**call, "keys": sorted(call["keys"])} for call in calls]
    calls.clear()
    monkeypatch.setattr(_Recorder, "fresh", itertools.count(1000))
    stream = generator.stream(_prompt(40), 2.0, 3)
    with pytest.raises(ValueError, match="end"):
        _ = stream.result
    pieces = [next(stream), next(stream)]
    assert [call["stage"] for call in calls] == ["semantic", "coarse", "fine"]
    assert sum(map(len, pieces)) == (40 + 10 - latency) * HOP
    pieces += stream
    np.testing.assert_array_equal(np.concatenate(pieces), whole.samples)
    for field in dataclasses.fields(Generated):
        np.testing.assert_equal(getattr(stream.result, field.name), getattr(whole, field.name))
    np.testing.assert_equal(_of(calls, "coarse"), _of(asked, "coarse"))
    assert {k for c in _of(calls, "fine") for k in c["keys"]} == {
        k for c in _of(asked, "fine") for k in c["keys"]
    }


def _told(call: dict) -> np.ndarray:
    """Clusters of the condition that stage 2 was told."""
    prompt = list(call["prompts"][0])
    return np.array(prompt[1 : prompt.index(SEP)]) - FIRST_ID


def _say_slowly(monkeypatch, frames_of_token: int) -> None:
    """Stage 2 speaks each token after the prompt's 20 for so many frames."""

    def says(prompt: np.ndarray, frames: int) -> np.ndarray:
        told = prompt[21 : list(prompt).index(SEP)] - FIRST_ID
        return np.resize(np.repeat(told, frames_of_token), frames)

    monkeypatch.setattr(_Recorder, "says", staticmethod(says))


def test_what_a_window_has_not_spoken_is_told_to_the_next(calls, monkeypatch):
    _say_slowly(monkeypatch, 4)
    _generator().continue_audio([_prompt(40)], 2.0, [3])
    # 60 frames speak 15 of the 24 tokens written for them; the next 40 are 16 tokens, 9 of which
    # waited.
    np.testing.assert_array_equal(_told(_of(calls, "coarse")[1]), np.arange(1000, 1031))
    assert _of(calls, "semantic")[1]["steps"] == [7]


def test_a_window_is_told_no_more_than_its_time_can_hold(calls, monkeypatch):
    _say_slowly(monkeypatch, 6)
    result = _generator().continue_audio([_prompt(40)], 1.4, [3])[0]
    first, second = _of(calls, "coarse")
    assert (first["steps"], second["steps"]) == ([60 * COARSE], [10 * COARSE])
    # 60 frames speak 10 tokens; 14 wait for 10 frames, which are 5 semantic ones.
    assert list(_told(second)[-15:]) == list(range(1000, 1015))
    assert len(_of(calls, "semantic")) == 1
    np.testing.assert_array_equal(result.semantic[20:], np.arange(1000, 1024))


def test_what_waits_after_the_end_of_stage_1_is_spoken_before_the_recording_ends(
    calls, monkeypatch
):
    _say_slowly(monkeypatch, 6)
    _Recorder.ends = {"semantic": 20}
    result = _generator(stop="end_token").continue_audio([_prompt(40)], 4.0, [3])[0]
    first, second = _of(calls, "coarse")
    assert (first["end"], second["end"]) == ([True], [True])
    assert list(_told(second)) == list(range(1001, 1020))  # those heard in 50 frames, and the rest
    assert result.ended
    assert len(result.codes) == 40 + 60 + 50


def test_log_probabilities_stand_in_the_order_of_the_tokens(calls):
    result = _generator().continue_audio([_prompt(40)], 2.0, [3])[0]
    np.testing.assert_array_equal(result.log_probs["semantic"], -(result.semantic[20:] + FIRST_ID))
    new = result.codes[40:]
    for name, first, stop in (("coarse", 0, COARSE), ("fine", COARSE, LEVELS)):
        ids = flatten_levels(new[:, first:stop], first, STAGES[name])
        np.testing.assert_array_equal(result.log_probs[name], -ids.astype(np.float32))
