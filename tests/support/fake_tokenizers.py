"""Tokenizers without weights, whose tokens are the loudness of frames."""

import dataclasses

import numpy as np
import pytest

from audiolm_jax.types import AcousticTokens, SemanticTokens


@dataclasses.dataclass
class FakeCodec:
    sample_rate_hz: int = 16000
    hop_samples: int = 320
    levels: int = 3
    codebook_size: int = 16
    fingerprint: str = "codec"
    fail_after: int = 1 << 30
    max_block_frames: int = 8

    def open_encoder(self, block_frames=1):
        pytest.fail("recordings are encoded whole")

    def open_decoder(self, block_frames=1):
        pytest.fail("tokenizing turned tokens back into sound")

    def encode(self, audio):
        self.fail_after -= 1
        if self.fail_after < 0:
            raise MemoryError("the machine went away")
        lengths = audio.lengths // self.hop_samples
        frames = audio.samples.reshape(len(lengths), -1, self.hop_samples)
        level = np.arange(1, self.levels + 1)
        codes = (np.abs(frames).sum(-1)[:, :, None] * 100 * level).astype(np.int32)
        return AcousticTokens(codes % self.codebook_size, lengths.astype(np.int32))

    def decode(self, tokens):
        pytest.fail("tokenizing turned tokens back into sound")

    def latents(self, codes):
        pytest.fail("tokenizing asked for code vectors")


@dataclasses.dataclass
class FakeSemantic:
    sample_rate_hz: int = 16000
    hop_samples: int = 640
    clusters: int = 8
    fingerprint: str = "semantic"

    def encode(self, audio):
        """Loudness against the item's mean: what follows its end must not count as sound."""
        inside = np.arange(audio.samples.shape[1]) < audio.lengths[:, None]
        loudness = np.where(inside, np.abs(audio.samples), 0)
        loudness /= loudness.sum(1, keepdims=True) / audio.lengths[:, None]
        frames = loudness.reshape(len(loudness), -1, self.hop_samples).sum(-1)
        ids = (frames * 10).astype(np.int32) % self.clusters
        return SemanticTokens(ids, -(-audio.lengths // self.hop_samples))


def load():
    return FakeCodec(), FakeSemantic()
