"""A generator without models: noise that depends on prompt, seconds and seed alone."""

import hashlib
from typing import ClassVar

import numpy as np

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.generation.bundle import Bundle, StageModel
from audiolm_jax.generation.track import Generated
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from support.fake_tokenizers import FakeCodec, FakeSemantic

HOP, LEVELS, CODES = 320, 4, 16
PIECE_FRAMES = 10  # of a stream


def drawn(prompt, seconds, seed):
    """What a seed makes of a prompt."""
    data = np.ascontiguousarray(prompt).tobytes() + repr((float(seconds), int(seed))).encode()
    return np.random.default_rng(list(hashlib.sha256(data).digest()))


def fake_bundle(crop_seconds=6.0):
    """A bundle of tokenizers without weights and stages without any."""
    decoder = DecoderConfig(layers=1, heads=1, head_width=2, width=2, ff_width=2)
    stages = {
        name: StageModel(
            StageModelConfig(StageConfig(name, 8, CODES, LEVELS, 2, crop_seconds=seconds), decoder),
            ModelFolder("stage", {}, {}, "f", {}),
        )
        for name, seconds in (("semantic", crop_seconds), ("coarse", 2.0), ("fine", 1.0))
    }
    parts = dict.fromkeys(("codec", "semantic", "semantic_lm", "coarse_lm", "fine_lm"), "5" * 64)
    return Bundle(FakeCodec(levels=LEVELS), FakeSemantic(), stages, 12.0, "f" * 64, parts)


class FakeGenerator:
    """Stands in for `pipeline.Generator`."""

    calls: ClassVar[list] = []

    def __init__(self, bundle, config):
        self.bundle, self.config = bundle, config
        self.sample_rate_hz = bundle.codec.sample_rate_hz

    def rehearse(self, prompts, seconds, is_streamed):
        """There are no programs."""

    def _make(self, prompt, seconds, seed):
        rng = drawn(prompt, seconds, seed)
        prompt = prompt[: len(prompt) // (2 * HOP) * 2 * HOP]
        new = max(1, round(seconds * 25)) * 2
        codes = rng.integers(0, CODES, (len(prompt) // HOP + new, LEVELS)).astype(np.int32)
        if self.config.coarse_only:
            codes = codes[:, : self.bundle.stages["coarse"].config.stage.coarse_levels]
        sound = rng.uniform(-0.5, 0.5, new * HOP).astype(np.float32)
        log_probs = {"semantic": rng.normal(size=new // 2).astype(np.float32)}
        semantic = rng.integers(0, 8, new // 2).astype(np.int32)
        return Generated(
            samples=np.concatenate([prompt, sound]),
            codes=codes,
            prompt_samples=len(prompt),
            ended=False,
            semantic=semantic,
            log_probs=log_probs,
        )

    def continue_audio(self, prompts, seconds, seeds, progress=None):
        type(self).calls.append((len(prompts), seconds, list(seeds)))
        made = [
            self._make(*item) for item in zip(prompts, [seconds] * len(prompts), seeds, strict=True)
        ]
        if progress is not None:
            rate = self.sample_rate_hz
            progress("semantic", 9, sum(len(p) for p in prompts) / rate)
            progress("acoustic", 9, sum(len(m.samples) for m in made) / rate)
        return made

    def sample(self, seconds, seeds, progress=None):
        return self.continue_audio([np.zeros(0, np.float32) for _ in seeds], seconds, seeds)

    def revoice(self, speeches, seeds, progress=None):
        empty, rate = np.zeros(0, np.float32), self.sample_rate_hz
        return [self._make(empty, len(x) / rate, n) for x, n in zip(speeches, seeds, strict=True)]

    def stream(self, prompt, seconds, seed, progress=None):
        return FakeStream(self._make(prompt, seconds, seed))

    def encode(self, samples):
        frames = len(samples) // (2 * HOP) * 2
        return np.zeros((frames, LEVELS), np.int32), np.zeros(frames // 2, np.int32)

    def decode(self, codes):
        return np.full(len(codes) * HOP, 0.1, np.float32)

    def score(self, samples):
        return {"semantic": -np.ones(len(samples) // (2 * HOP), np.float32)}


class FakeStream:
    """Pieces of a result; `fail_after` of them something happens."""

    fail_after: tuple = (1 << 30, KeyboardInterrupt)

    def __init__(self, made):
        self._made, self._at, self._count = made, 0, 0

    def __iter__(self):
        return self

    def __next__(self):
        count, error = type(self).fail_after
        if self._count >= count:
            raise error
        self._count += 1
        # The prompt comes first.
        end = self._made.prompt_samples if not self._at else self._at + PIECE_FRAMES * HOP
        piece = self._made.samples[self._at : end]
        self._at = end
        if not len(piece):
            raise StopIteration
        return piece

    @property
    def result(self):
        return self._made
