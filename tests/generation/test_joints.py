"""How the stages are joined: what each is told, with which key, and where its tokens go.

The models are replaced by a recorder, and sound by numbers: a sample says which frame it is of, so
every token and every code of a prompt can be traced to its place.
"""

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.generation import pipeline
from audiolm_jax.generation.bundle import Bundle, StageModel
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.decode import Continuation
from audiolm_jax.generation.pipeline import Generator
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
TEMPERATURES = {"semantic": 0.6, "coarse": 0.8, "fine": 0.5}


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


class _Semantic(_Numbers):
    def encode(self, audio: AudioBatch) -> SemanticTokens:
        hop = self.hop_samples
        numbers = np.asarray(audio.samples)[:, ::hop].round().astype(np.int32)
        return SemanticTokens(numbers, -(-audio.lengths // hop))


class _Recorder:
    """Stands in for StageDecoder: keeps what it is asked, writes numbers never written before."""

    calls: list[dict]
    ends: dict  # stage -> tokens after which it writes its end, once
    fresh: Any  # numbers to write

    def __init__(self, config: StageModelConfig, arrays: dict) -> None:
        self._stage = config.stage

    def generate(self, prompts, target_offset, steps, keys, sampling, allow_end):
        name = self._stage.name
        call = {"stage": name, "prompts": prompts, "offsets": target_offset, "steps": steps}
        data = [tuple(row) for row in np.asarray(jax.random.key_data(keys)).tolist()]
        how = {"temperature": sampling.temperature, "end": all(allow_end)}
        self.calls.append({**call, "keys": data, **how})
        results = []
        for prompt, count in zip(prompts, steps, strict=True):
            end = self.ends.pop(name, None) if all(allow_end) else None
            count = count if end is None else min(end, count)
            width, first = len(self._stage.target_levels), self._stage.target_levels.start
            if name == "fine":  # levels that name the frame of the coarse ones
                coarse = (prompt[1:-1] - self._stage.acoustic_start).reshape(-1, COARSE)
                numbers = coarse[:, 0]
            else:
                numbers = np.array([next(self.fresh) for _ in range(count // width)], np.int32)
            if name == "semantic":
                ids = numbers + FIRST_ID
            else:
                codes = numbers[:, None] + np.arange(first, first + width)
                ids = flatten_levels(codes, first, self._stage)
            ids = np.asarray(ids, np.int32)
            results.append(Continuation(ids, np.zeros(len(ids), np.float32), end is not None))
        return results


@pytest.fixture
def calls(monkeypatch):
    """The calls of the stages in their order; numbers from 1000 on are written by them."""
    monkeypatch.setattr(_Recorder, "calls", [], raising=False)
    monkeypatch.setattr(_Recorder, "ends", {}, raising=False)
    monkeypatch.setattr(_Recorder, "fresh", itertools.count(1000), raising=False)
    monkeypatch.setattr(pipeline, "StageDecoder", _Recorder)
    return _Recorder.calls


def _generator(**config: Any) -> Generator:
    decoder = DecoderConfig(layers=1, heads=1, head_width=2, width=2, ff_width=2)
    stages = {
        name: StageModel(StageModelConfig(stage, decoder), ModelFolder("stage", {}, {}, "f", {}))
        for name, stage in STAGES.items()
    }
    temperatures = {f"{name}_temperature": value for name, value in TEMPERATURES.items()}
    config = {"context_seconds": 1.0, **temperatures, **config}
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
    # The context of the second window is the end of what is there: 50 frames that stage 2 wrote,
    # whose tokens are heard anew in their sound.
    recent = np.arange(1024, 1084)[-50:]
    told = np.append(recent[::2], np.arange(1084, 1100))
    np.testing.assert_array_equal(second["prompts"][0], _coarse_prompt(told, recent))
    assert second["offsets"] == [50 * COARSE]
    assert second["steps"] == [40 * COARSE]


def test_stage_3_gets_the_coarse_levels_in_chunks_and_every_code_its_place(calls):
    result = _generator().continue_audio([_prompt(40)], 1.0, [3])[0]
    (fine,) = _of(calls, "fine")
    numbers = np.arange(1020, 1070)  # after 20 semantic tokens, 50 frames
    stage = STAGES["fine"]
    for prompt, chunk in zip(fine["prompts"], (numbers[:30], numbers[30:]), strict=True):
        np.testing.assert_array_equal(prompt, [BOS, *flatten_levels(_codes(chunk), 0, stage), SEP])
    assert fine["steps"] == [30 * 2, 20 * 2]
    assert fine["offsets"] == [0, 0]
    every = np.append(np.arange(40), numbers)
    np.testing.assert_array_equal(result.codes, every[:, None] + np.arange(LEVELS))
    np.testing.assert_array_equal(result.samples, np.repeat(every, HOP))


def test_every_draw_has_a_key_of_its_own_that_its_seed_alone_decides(calls):
    generator = _generator()
    generator.continue_audio([_prompt(50), _prompt(50, 100)], 2.0, [3, 4])
    together = [(c["stage"], row, key) for c in calls for row, key in enumerate(c["keys"])]
    keys = [key for _, _, key in together]
    assert len(set(keys)) == len(keys) == 2 * (2 + 2 + 4)  # two windows, the fine stage in halves
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


def test_each_stage_has_its_temperature_and_ends_only_where_it_may(calls):
    _generator().continue_audio([_prompt(40)], 2.0, [0])
    assert {(c["stage"], c["temperature"]) for c in calls} == set(TEMPERATURES.items())
    assert not any(call["end"] for call in calls)
    calls.clear()
    _generator(stop="end_token").continue_audio([_prompt(40)], 1.0, [0])
    assert {(c["stage"], c["end"]) for c in calls} == {
        ("semantic", True), ("coarse", True), ("fine", False)
    }  # fmt: skip


def test_where_stage_2_ends_the_recording_ends(calls):
    _Recorder.ends = {"coarse": 10 * COARSE}
    result = _generator(stop="end_token").continue_audio([_prompt(40)], 2.0, [0])[0]
    assert result.ended
    assert len(result.codes) == 50
    assert len(_of(calls, "coarse")) == 1


def test_revoice_tells_each_window_the_tokens_of_its_own_time(calls):
    result = _generator().revoice(_prompt(180), 0)
    assert not _of(calls, "semantic")
    first, second, third = _of(calls, "coarse")
    z = np.arange(0, 180, 2)
    np.testing.assert_array_equal(first["prompts"][0], _coarse_prompt(z[:50], np.zeros(0, int)))
    wrote = np.arange(1000, 1100)
    np.testing.assert_array_equal(second["prompts"][0], _coarse_prompt(z[25:75], wrote[50:]))
    wrote = np.arange(1000, 1150)
    np.testing.assert_array_equal(third["prompts"][0], _coarse_prompt(z[50:90], wrote[100:]))
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
    _generator().continue_audio([_prompt(72)], 0.6, [0])
    assert [call["offsets"][0] // COARSE for call in _of(calls, "coarse")] == [50]


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
