"""What every codec asks of its input, and the inputs of a stream that wait for their block."""

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.errors import InputError


class Blocks:
    """Inputs that wait until they fill a block of one of two sizes: the larger while it is full.

    A codec that sees beside a frame gets blocks with `context` frames on either side of those it
    computes, so that blocks overlap by twice that; zeros stand before the first.
    """

    def __init__(
        self, unit: int, block_frames: int, largest: int, context: int = 0, halvings: int = 0
    ):
        """Args:
          unit: inputs per frame.
          block_frames: frames computed together while few wait, 1 to `largest`.
          largest: frames computed together while so many wait.
          context: frames that a block holds before and after those.
          halvings: how often the last block may be halved if less than that is left.

        Raises:
          InputError: block_frames out of range.
        """
        if not 1 <= block_frames <= largest:
            raise InputError(f"block_frames = {block_frames}: expected 1 to {largest}")
        self._unit = unit
        self._context = context
        self._sizes = [(frames + 2 * context) * unit for frames in (largest, block_frames)]
        smallest = block_frames + 2 * context
        self._last_sizes = [(smallest >> n) * unit for n in reversed(range(halvings + 1))]
        self._waiting: np.ndarray | None = None
        self._is_finished = False

    def add(self, inputs: np.ndarray) -> list[np.ndarray]:
        """Blocks that are full now."""
        if self._is_finished:
            raise ValueError("the stream is finished; open another one")
        if self._waiting is None:
            self._waiting = np.zeros((self._context * self._unit, *inputs.shape[1:]), inputs.dtype)
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
                start += size - 2 * self._context * self._unit
        self._waiting = inputs[start:].copy()  # a view would keep the whole chunk alive
        return blocks

    def finish(self) -> tuple[np.ndarray | None, int]:
        """What still waits as one block filled up with zeros, and how many frames it completes."""
        rest, self._is_finished = self._waiting, True
        frames = 0 if rest is None else -(-len(rest) // self._unit) - self._context
        if not frames:
            return None, 0
        size = next(size for size in self._last_sizes if size >= len(rest))
        block = np.zeros((size, *rest.shape[1:]), rest.dtype)
        block[: len(rest)] = rest
        return block, frames


def check_samples(samples: Float[np.ndarray, " n"]) -> None:
    """Refuses what no code can stand for.

    Raises:
      InputError: a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise InputError("audio holds NaN or infinite samples; repair or drop the recording")


def check_codes(codes: Int[np.ndarray, "t q"], levels: int, codebook_size: int) -> None:
    """Refuses codes that a codec of so many levels and codes cannot have written.

    Raises:
      InputError: too many levels, or a code out of range.
    """
    if not 1 <= codes.shape[1] <= levels:
        raise InputError(f"tokens of {codes.shape[1]} levels: this codec decodes 1 to {levels}")
    if codes.size and not (codes.min() >= 0 and codes.max() < codebook_size):
        raise InputError(
            f"codes span [{codes.min()}, {codes.max()}]: this codec has codes 0 to "
            f"{codebook_size - 1}; the tokens come from another codec"
        )
