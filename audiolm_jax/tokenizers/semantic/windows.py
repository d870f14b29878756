"""Audio of any length through an encoder, in pieces that only the recording itself decides.

Windows: a recording is divided into windows of `tokens` tokens, counted from its first sample. The
encoder hears a window with `context` tokens on either side of it, and only the window's own tokens
are kept. A window whose right context reaches the end of the recording is the last one and keeps
all that is left: no piece is longer than tokens + 2 context.

Programs: a piece is padded to 64, 96, 128, 192, 256, ... tokens, by its own length. Pieces of one
padded length go through one program that takes a fixed number of them, so that the bits of a result
depend neither on batch mates nor on how many there are.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Num

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.types import Array, AudioBatch

SMALLEST_BUCKET = 64  # tokens
TOKENS_TOGETHER = 256  # short pieces share a program's call up to so many


class Piece(NamedTuple):
    """Tokens of an item that go through the encoder together, and those that are kept."""

    item: int  # row of the batch
    begin: int  # first token that is heard
    end: int  # behind the last token that is heard
    first: int  # first token that is kept
    last: int  # behind the last token that is kept


def bucket_tokens(tokens: int) -> int:
    """Padded number of tokens: a power of two, or three quarters of one."""
    power = max(SMALLEST_BUCKET, 1 << max(tokens - 1, 0).bit_length())
    less = power * 3 // 4
    return less if max(tokens, SMALLEST_BUCKET) <= less else power


def pieces_of(item: int, tokens: int, window: WindowConfig) -> Iterator[Piece]:
    """The pieces of an item of so many tokens; none without tokens."""
    first = 0
    while first < tokens:
        heard = first + window.tokens + window.context
        last = first + window.tokens if heard < tokens else tokens
        yield Piece(item, max(0, first - window.context), min(heard, tokens), first, last)
        first = last


def in_windows(
    compiled: Callable[[AudioBatch], Num[Array, "r u ..."]],
    audio: AudioBatch,
    hop_samples: int,
    window: WindowConfig,
    empty: Num[np.ndarray, "..."],
) -> tuple[Num[np.ndarray, "b u ..."], Int[np.ndarray, " b"]]:
    """[b, ceil(s / hop), ...] by a compiled encoder, and int32 [b], the tokens of each item.

    `compiled` takes audio of few padded shapes and gives an array for each token; `empty` is what a
    token beyond the end of its item is, and tells shape and dtype of the others.
    """
    samples, lengths = checked(audio)
    tokens = -(-lengths // hop_samples)
    shape = (len(lengths), -(-samples.shape[1] // hop_samples), *empty.shape)
    result = np.full(shape, empty, empty.dtype)
    buckets: dict[int, list[Piece]] = {}
    for item, count in enumerate(tokens):
        for piece in pieces_of(item, int(count), window):
            buckets.setdefault(bucket_tokens(piece.end - piece.begin), []).append(piece)
    for size, pieces in sorted(buckets.items()):
        rows = max(1, TOKENS_TOGETHER // size)
        for begin in range(0, len(pieces), rows):
            some = pieces[begin : begin + rows]
            heard = _cut(samples, lengths, some, rows, size, hop_samples)
            for piece, row in zip(some, np.asarray(compiled(heard)), strict=False):
                kept = row[piece.first - piece.begin : piece.last - piece.begin]
                result[piece.item, piece.first : piece.last] = kept
    return result, tokens.astype(np.int32)


def checked(audio: AudioBatch) -> tuple[np.ndarray, np.ndarray]:
    """(samples, lengths) as numpy; InputError if they do not fit each other."""
    samples, lengths = np.asarray(audio.samples), np.asarray(audio.lengths)
    if samples.ndim != 2 or lengths.shape != samples.shape[:1]:
        words = f"samples {samples.shape} and lengths {lengths.shape}, expected [b, s] and [b]"
        raise InputError(f"audio batch: {words}")
    if len(lengths) and not 0 <= lengths.min() <= lengths.max() <= samples.shape[1]:
        words = f"lengths span [{lengths.min()}, {lengths.max()}]"
        raise InputError(f"audio batch: {words}, expected within [0, {samples.shape[1]}] samples")
    return samples, lengths


def _cut(
    samples: np.ndarray, lengths: np.ndarray, pieces: list[Piece], rows: int, size: int, hop: int
) -> AudioBatch:
    """What is heard of each piece, with zeros behind it and empty items after the last."""
    padded, counts = np.zeros((rows, size * hop), np.float32), np.zeros(rows, np.int32)
    for row, piece in enumerate(pieces):
        begin, end = piece.begin * hop, min(piece.end * hop, int(lengths[piece.item]))
        padded[row, : end - begin] = samples[piece.item, begin:end]
        counts[row] = end - begin
    return AudioBatch(padded, counts)
