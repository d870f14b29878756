"""SoundStream on a stream: chunks of any length in, codes or samples out, little memory.

A stream computes blocks of fixed sizes, so that at most two programs are compiled: 128 frames while
so many wait, `block_frames` otherwise. What does not fill a block waits for the next chunk. The
codec delays by one frame of `hop_samples` (20 ms at 50 Hz): a frame's codes need the last sample of
its hop and no later one, and its samples need no later frame. Blocks of more frames cost their
length instead.
"""

from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.tokenizers.acoustic.soundstream.model import State
from audiolm_jax.tokenizers.acoustic.streams import Blocks, check_codes, check_samples

BLOCK_FRAMES = 128


class BlockCodec(Protocol):
    """What a stream needs of a codec; `SoundStreamCodec` is one."""

    hop_samples: int
    levels: int
    codebook_size: int

    def encoder_state(self, batch: int) -> State:
        """Before the first block."""

    def decoder_state(self, batch: int) -> State:
        """Before the first block."""

    def encode_block(self, samples: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Samples [b, n * hop] -> (codes [b, n, q], next state)."""

    def decode_block(self, codes: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Codes [b, n, q] -> (samples [b, n * hop], next state)."""


class EncoderStream:
    """Samples in, codes out, one recording from start to end.

    Attributes:
      latency_frames: a frame's codes come out once so many frames are there; 1 is its own hop.
    """

    def __init__(self, codec: BlockCodec, block_frames: int = 1):
        """Args: codec; block_frames, frames computed together, 1 to 128: delay against speed."""
        self._codec = codec
        self._blocks = Blocks(codec.hop_samples, block_frames, BLOCK_FRAMES)
        self._state = codec.encoder_state(1)
        self.latency_frames = block_frames

    def push(self, samples: Float[np.ndarray, " n"]) -> Int[np.ndarray, "t q"]:
        """Takes the next samples, any number of them.

        Returns:
          int32 codes [t, q] of the frames that are full now; t may be 0.

        Raises:
          InputError: a sample is not finite.
        """
        check_samples(samples)
        return self._encode(self._blocks.add(np.asarray(samples, np.float32)))

    def finish(self) -> Int[np.ndarray, "t q"]:
        """Codes of what still waits; a partial last frame is filled with zeros."""
        block, frames = self._blocks.finish()
        return self._encode([] if block is None else [block])[:frames]

    def _encode(self, blocks: list[np.ndarray]) -> np.ndarray:
        results = [np.zeros((1, 0, self._codec.levels), np.int32)]
        for block in blocks:
            codes, self._state = self._codec.encode_block(block[None], self._state)
            results.append(codes)
        return np.concatenate(results, axis=1)[0]


class DecoderStream:
    """Codes in, samples out, one recording from start to end.

    Attributes:
      latency_frames: a frame's samples come out once so many frames are there; 1 is no wait.
    """

    def __init__(self, codec: BlockCodec, block_frames: int = 1):
        """Args: codec; block_frames, frames computed together, 1 to 128: delay against speed."""
        self._codec = codec
        self._blocks = Blocks(1, block_frames, BLOCK_FRAMES)
        self._state = codec.decoder_state(1)
        self.latency_frames = block_frames

    def push(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, " s"]:
        """Takes the next frames, any number of them, of the first q levels.

        Returns:
          float32 samples of the full blocks, `hop_samples` for each frame, in [-1, 1].

        Raises:
          InputError: a code out of range, too many levels, or their number changes.
        """
        check_codes(codes, self._codec.levels, self._codec.codebook_size)
        return self._decode(self._blocks.add(np.asarray(codes, np.int32)))

    def finish(self) -> Float[np.ndarray, " s"]:
        """Samples of the frames that still wait."""
        block, frames = self._blocks.finish()
        samples = self._decode([] if block is None else [block])
        return samples[: frames * self._codec.hop_samples]

    def _decode(self, blocks: list[np.ndarray]) -> np.ndarray:
        results = [np.zeros((1, 0), np.float32)]
        for block in blocks:
            samples, self._state = self._codec.decode_block(block[None], self._state)
            results.append(samples)
        return np.concatenate(results, axis=1)[0]
