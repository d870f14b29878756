"""Frozen tokens as a decoder gets them: codes of one or more levels, and the vectors of these."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.load import ACOUSTIC_KINDS, make_codec
from audiolm_jax.tokenizers.semantic import residual
from audiolm_jax.tokenizers.semantic.residual import ResidualTokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import KIND as UNITS
from audiolm_jax.tokenizers.semantic.tokenizer import KmeansTokenizer
from audiolm_jax.types import AcousticTokens, AudioBatch

TOKEN_KINDS = (UNITS, residual.KIND, *ACOUSTIC_KINDS)


@runtime_checkable
class FrozenTokens(Protocol):
    """What a decoder can be trained on; an item gets what it would get alone."""

    sample_rate_hz: int
    hop_samples: int  # samples of a frame
    levels: int
    codebook_size: int

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """Codes of all levels."""

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Sum of the vectors of the codes of the first q levels, float32."""


class UnitTokens:
    """Semantic units as codes of one level, whose vectors are the centroids."""

    levels = 1

    def __init__(self, tokenizer: KmeansTokenizer):
        self._tokenizer = tokenizer
        self.sample_rate_hz, self.hop_samples = tokenizer.sample_rate_hz, tokenizer.hop_samples
        self.codebook_size = tokenizer.clusters

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """int32 [b, u, 1]."""
        tokens = self._tokenizer.encode(audio)
        return AcousticTokens(np.asarray(tokens.ids)[:, :, None], tokens.lengths)

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """Centroids, in units of the features' deviation."""
        return self._tokenizer.clustering.centroids[codes[:, 0]]


class FirstLevels:
    """The first levels of tokens alone: SoundStream at 2 of 6 kbit/s."""

    def __init__(self, tokens: FrozenTokens, levels: int):
        self._tokens, self.levels = tokens, levels
        self.sample_rate_hz, self.hop_samples = tokens.sample_rate_hz, tokens.hop_samples
        self.codebook_size = tokens.codebook_size

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """int32 [b, t, levels]."""
        tokens = self._tokens.encode(audio)
        return AcousticTokens(tokens.codes[:, :, : self.levels], tokens.lengths)

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """As the tokens have them."""
        return self._tokens.latents(codes)


def open_tokens(folder: ModelFolder, levels: int, where: str) -> FrozenTokens:
    """The first `levels` of the tokens that a model folder read from `where` makes; InputError if
    it makes none, or has fewer."""
    tokens: Any
    if folder.kind == UNITS:
        tokens = UnitTokens(KmeansTokenizer(folder, where))
    elif folder.kind == residual.KIND:
        tokens = ResidualTokenizer(folder, where)
    elif folder.kind in ACOUSTIC_KINDS:
        tokens = make_codec(folder, where)
    else:
        expected = f"expected one that makes tokens: {', '.join(TOKEN_KINDS)}"
        raise InputError(f"{where}: holds a {folder.kind!r} model, {expected}")
    if not 1 <= levels <= tokens.levels:
        raise InputError(f"{where}: its tokens have {tokens.levels} levels, not {levels}")
    return tokens if levels == tokens.levels else FirstLevels(tokens, levels)


def vectors_of(tokens: FrozenTokens, audio: AudioBatch) -> Float[np.ndarray, "b t d"]:
    """The vectors of a batch's tokens, float32; beyond each item they mean nothing."""
    codes = np.asarray(tokens.encode(audio).codes)
    flat = tokens.latents(codes.reshape(-1, codes.shape[-1]))
    return np.asarray(flat, np.float32).reshape(*codes.shape[:2], -1)
