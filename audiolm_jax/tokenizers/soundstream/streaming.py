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

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.soundstream.model import State

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


class _Blocks:
    """Inputs that wait until they fill a block."""

    def __init__(self, unit: int, block_frames: int):
        """Args: unit, inputs per frame; block_frames, 1 to `BLOCK_FRAMES`."""
        if not 1 <= block_frames <= BLOCK_FRAMES:
            raise InputError(f"block_frames = {block_frames}: expected 1 to {BLOCK_FRAMES}")
        self._unit = unit
        self._sizes = [frames * unit for frames in (BLOCK_FRAMES, block_frames)]
        self._waiting: np.ndarray | None = None
        self._is_finished = False

    def add(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Blocks that are full now."""
        if self._is_finished:
            raise ValueError("the stream is finished; open another one")
        if self._waiting is not None:
            if inputs.shape[1:] != self._waiting.shape[1:]:
                raise InputError(
                    f"a chunk [n, {inputs.shape[1]}] in a stream of [n, {self._waiting.shape[1]}]: "
                    "all chunks need the same number of levels"
                )
            inputs = np.concatenate([self._waiting, inputs])
        blocks, start = [], 0
        for size in self._sizes:
            while len(inputs) - start >= size:
                blocks.append(inputs[start : start + size])
                start += size
        self._waiting = inputs[start:].copy()  # a view would keep the whole chunk alive
        return blocks

    def finish(self) -> tuple[np.ndarray | None, int]:
        """What still waits as one block filled up with zeros, and how many frames of it count."""
        rest, self._is_finished = self._waiting, True
        if rest is None or not len(rest):
            return None, 0
        block = np.zeros((self._sizes[-1], *rest.shape[1:]), rest.dtype)
        block[: len(rest)] = rest
        return block, -(-len(rest) // self._unit)


class EncoderStream:
    """Samples in, codes out, one recording from start to end.

    Attributes:
      latency_samples: at most so many samples wait before their codes come out.
    """

    def __init__(self, codec: BlockCodec, block_frames: int = 1):
        """Args: codec; block_frames, frames computed together, 1 to 128: delay against speed."""
        self._codec = codec
        self._blocks = _Blocks(codec.hop_samples, block_frames)
        self._state = codec.encoder_state(1)
        self.latency_samples = block_frames * codec.hop_samples

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
        self._blocks = _Blocks(1, block_frames)
        self._state = codec.decoder_state(1)
        self.latency_frames = block_frames

    def push(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, " s"]:
        """Takes the next frames, any number of them, of the first q levels.

        Returns:
          float32 samples of the full blocks, `hop_samples` for each frame, in [-1, 1].

        Raises:
          InputError: a code out of range, too many levels, or their number changes.
        """
        check_codes(codes, self._codec)
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


def check_samples(samples: Float[np.ndarray, " n"]) -> None:
    """Refuses what no code can stand for.

    Raises:
      InputError: a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise InputError("audio holds NaN or infinite samples; repair or drop the recording")


def check_codes(codes: Int[np.ndarray, "t q"], codec: BlockCodec) -> None:
    """Refuses codes that the codec cannot have written.

    Raises:
      InputError: too many levels, or a code outside [0, N).
    """
    if not 1 <= codes.shape[1] <= codec.levels:
        raise InputError(
            f"tokens of {codes.shape[1]} levels: this codec decodes 1 to {codec.levels}"
        )
    if codes.size and not (codes.min() >= 0 and codes.max() < codec.codebook_size):
        raise InputError(
            f"codes span [{codes.min()}, {codes.max()}]: this codec has codes 0 to "
            f"{codec.codebook_size - 1}; the tokens come from another codec"
        )
