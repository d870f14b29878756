"""Tokenizers as a package of a user's own has them, of the sizes of `tiny_models`."""

import numpy as np

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.tokenizers.semantic.w2v_bert.config import W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.types import AcousticTokens, AudioBatch, SemanticTokens


def frames_of(audio, hop):
    """Whole frames [b, t, hop], zeros where nothing is, and how many each item has."""
    lengths = np.asarray(audio.lengths)
    frames = -(-audio.samples.shape[1] // hop)
    samples = np.zeros((len(lengths), frames * hop), np.float32)
    for row, clip, size in zip(samples, np.asarray(audio.samples), lengths, strict=True):
        row[:size] = clip[:size]
    return samples.reshape(-1, frames, hop), (-(-lengths // hop)).astype(np.int32)


class Codec:
    """The loudness of frames, on levels that are each a digit of base 16."""

    sample_rate_hz, hop_samples, levels, codebook_size = 16_000, 320, 4, 16

    def __init__(self, folder):
        self.gain, self.fingerprint = folder.arrays["gain"], folder.fingerprint

    def encode(self, audio):
        frames, lengths = frames_of(audio, 320)
        loud = np.minimum(np.abs(frames).mean(2) * self.gain[0] * 16**4, 16**4 - 1).astype(np.int32)
        return AcousticTokens(loud[:, :, None] // 16 ** np.arange(3, -1, -1) % 16, lengths)

    def latents(self, codes):
        digits = 16.0 ** -np.arange(1, codes.shape[1] + 1)
        return (codes * digits).sum(1, keepdims=True).astype(np.float32)

    def decode(self, tokens):
        loud = [self.latents(row)[:, 0] for row in np.asarray(tokens.codes)]
        samples = np.stack([np.repeat(row, 320) for row in loud]).astype(np.float32)
        return AudioBatch(samples, np.asarray(tokens.lengths) * np.int32(320))


class Semantic:
    """The loudness of frames against the loudest that there may be."""

    sample_rate_hz, hop_samples, clusters = 16_000, 640, 8

    def __init__(self, folder):
        self.fingerprint = folder.fingerprint

    def encode(self, audio):
        frames, lengths = frames_of(audio, 640)
        return SemanticTokens((np.abs(frames).mean(2) * 8).astype(np.int32) % 8, lengths)


class Encoder(W2vBert):
    """An encoder whose class is here."""

    config_type = W2vBertConfig


class Nameless(W2vBert):
    """One whose config has no class."""


def write_codec(directory):
    """A model folder of `Codec`; its fingerprint."""
    arrays = {"gain": np.ones(1, np.float32)}
    return save_model(directory, "support.outside_parts:Codec", {}, arrays, {})


def write_semantic(directory, encoder=None):
    """A model folder of `Semantic`; it needs no encoder."""
    save_model(directory, "support.outside_parts:Semantic", {}, {}, {})
