"""Streams for a codec that only knows whole recordings."""

from collections.abc import Callable

import numpy as np

from audiolm_jax.types import AcousticTokenizer, AcousticTokens, AudioBatch

_NEVER = (1 << 31) - 1  # before its end a recording gives nothing


class WholeStream:
    """`types.CodecStream` that gives everything when it is finished."""

    latency_frames = _NEVER

    def __init__(self, work: Callable[[np.ndarray], np.ndarray], empty: np.ndarray):
        """`work` is done on the whole; `empty` is what comes out before."""
        self._work, self._empty, self._pieces = work, empty, list[np.ndarray]()

    def push(self, piece: np.ndarray) -> np.ndarray:
        """Keeps the next samples or frames."""
        self._pieces.append(np.asarray(piece))
        return self._empty

    def finish(self) -> np.ndarray:
        """All of it."""
        return self._work(np.concatenate(self._pieces)) if self._pieces else self._empty


class WholeCodec:
    """`types.StreamingTokenizer` of a codec without streams."""

    max_block_frames = 256

    def __init__(self, codec: AcousticTokenizer):
        """All but the streams is that codec's."""
        self.sample_rate_hz, self.hop_samples = codec.sample_rate_hz, codec.hop_samples
        self.levels, self.codebook_size = codec.levels, codec.codebook_size
        self.fingerprint = codec.fingerprint
        self.encode, self.decode, self.latents = codec.encode, codec.decode, codec.latents

    def open_encoder(self, block_frames: int = 1) -> WholeStream:
        """A stream of samples to codes."""

        def encode(samples: np.ndarray) -> np.ndarray:
            tokens = self.encode(AudioBatch.from_clips([samples]))
            return np.asarray(tokens.codes)[0, : tokens.lengths[0]]

        return WholeStream(encode, np.zeros((0, self.levels), np.int32))

    def open_decoder(self, block_frames: int = 1) -> WholeStream:
        """A stream of codes, of any number of first levels, to samples."""

        def decode(codes: np.ndarray) -> np.ndarray:
            audio = self.decode(AcousticTokens(codes[None], np.array([len(codes)], np.int32)))
            return np.asarray(audio.samples)[0, : audio.lengths[0]]

        return WholeStream(decode, np.zeros(0, np.float32))
