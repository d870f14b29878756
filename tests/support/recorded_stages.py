"""Stages that record what they are asked, and sound made of numbers.

A sample says which frame it is of, so that every token and every code of a prompt can be traced to
its place.
"""

from typing import Any

import jax
import numpy as np

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.generation.bundle import Bundle, StageModel
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.decode import Continuation, Decoding, StageDecoder
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import BOS, FIRST_ID, SEP, StageConfig, flatten_levels, semantic_ids
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


class FakeCodec(_Numbers):
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


class FakeSemantic(_Numbers):
    def encode(self, audio: AudioBatch) -> SemanticTokens:
        hop = self.hop_samples
        numbers = np.asarray(audio.samples)[:, ::hop].round().astype(np.int32)
        return SemanticTokens(numbers, -(-audio.lengths // hop))


class Recorder(StageDecoder):
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
                condition = prompt[1 : np.flatnonzero(prompt == SEP)[0]]
                coarse = (condition - self._stage.acoustic_start).reshape(-1, COARSE)
                numbers = coarse[-(count // width) :, 0]
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

    def score(self, tokens: np.ndarray, target_start: int) -> np.ndarray:
        self.calls.append({"stage": self._stage.name, "tokens": tokens})
        return -tokens[target_start:].astype(np.float32)

    def generate(self, *arguments) -> list[Continuation]:
        decoding = self.open(*arguments)
        decoding.advance(10**6)
        return decoding.results()


class _Written(Decoding):
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


def recorded_generator(**config: Any) -> Generator:
    decoder = DecoderConfig(layers=1, heads=1, head_width=2, width=2, ff_width=2)
    stages = {
        name: StageModel(StageModelConfig(stage, decoder), ModelFolder("stage", {}, {}, "f", {}))
        for name, stage in STAGES.items()
    }
    config = {"context_seconds": 1.0, "first_seconds": 0.2, **SAMPLING, **config}
    bundle = Bundle(FakeCodec(HOP), FakeSemantic(2 * HOP), stages, 20.0, "f", {})
    return Generator(bundle, GenerationConfig(**config))


def numbered(frames: int, first: int = 0) -> np.ndarray:
    """Sound of which frame i is the number `first` + i."""
    return np.repeat(np.arange(first, first + frames), HOP).astype(np.float32)


def of_stage(calls: list[dict], stage: str) -> list[dict]:
    return [call for call in calls if call["stage"] == stage]


def fine_prompt(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What stage 3 is told of frames of which it knows all levels, and of those to be written."""
    stage = STAGES["fine"]
    condition = flatten_levels(coarse_codes(np.concatenate([known, new])), 0, stage)
    levels = np.arange(COARSE, LEVELS)
    target = flatten_levels(np.asarray(known)[:, None] + levels, COARSE, stage)
    return np.concatenate([[BOS], condition, [SEP], target])


def coarse_codes(numbers: np.ndarray) -> np.ndarray:
    """Coarse codes of frames, as the codec and the recorder give them."""
    return np.asarray(numbers)[:, None] + np.arange(COARSE)


def coarse_prompt(clusters, numbers) -> np.ndarray:
    stage = STAGES["coarse"]
    tokens = [[BOS], semantic_ids(np.asarray(clusters), stage), [SEP]]
    return np.concatenate([*tokens, flatten_levels(coarse_codes(numbers), 0, stage)])
