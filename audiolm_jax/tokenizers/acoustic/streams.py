"""A codec on a stream: chunks of any length in, codes or samples out, little memory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Num

from audiolm_jax.errors import InputError

# What a network remembers between two blocks: a pytree of arrays [b, ...]; None if it has none.
State = Any


class Half(NamedTuple):
    """The encoder or the decoder of a codec, as whole recordings and streams run it."""

    # (blocks [b, n, ...], [2, b] frames of each where its recording starts and stops, state) ->
    # (outputs of all frames, state of the next blocks)
    run: Callable[[np.ndarray, np.ndarray, State], tuple[Array, State]]
    initial_state: Callable[[int], State]  # of so many recordings before their first block
    context: int  # frames on either side of a frame that can change its outputs, beyond the state
    delay: int  # frames after which a frame's outputs come; 0 where there is a context
    units: tuple[int, int]  # inputs and outputs per frame
    check: Callable[[np.ndarray], np.ndarray]  # refuses bad inputs; as the network takes them
    empty: np.ndarray  # what comes out while no frame is ready


class Stream:
    """One recording from start to end: samples in and codes out, or codes in and samples out.

    Inputs wait until they fill a block of one of two sizes, the larger while it is full. Blocks
    hold the network's context on either side of the frames computed; zeros stand before the first,
    and after the last where outputs come delayed.
    """

    def __init__(self, half: Half, block_frames: int, most: int, halvings: int):
        """`block_frames` are computed together while fewer than `most` wait; the last block may be
        halved so often."""
        if not 1 <= block_frames <= most:
            raise InputError(f"block_frames = {block_frames}: expected 1 to {most}")
        # A frame's results come out once so many frames, itself among them, are there.
        self.latency_frames = block_frames + half.context + half.delay
        self._half = half
        self._sizes = [self._inputs(frames + 2 * half.context) for frames in (most, block_frames)]
        smallest = block_frames + 2 * half.context
        self._last_sizes = [self._inputs(smallest >> n) for n in reversed(range(halvings + 1))]
        self._waiting: np.ndarray | None = None
        self._state = half.initial_state(1)
        self._done = 0  # frames that are computed
        self._is_finished = False

    def push(self, inputs: Num[np.ndarray, " n *rest"]) -> Num[np.ndarray, " m *rest2"]:
        """Takes any number of inputs; returns results of the frames that have all they need now."""
        if self._is_finished:
            raise ValueError("the stream is finished; open another one")
        inputs = self._half.check(inputs)
        waiting = self._waiting
        if waiting is None:
            waiting = np.zeros((self._inputs(self._half.context), *inputs.shape[1:]), inputs.dtype)
        if inputs.shape[1:] != waiting.shape[1:]:
            shapes = f"a chunk [n, {inputs.shape[1]}] in a stream of [n, {waiting.shape[1]}]"
            raise InputError(f"{shapes}: all chunks need the same number of levels")
        inputs = np.concatenate([waiting, inputs])
        results, start = [self._half.empty], 0
        for size in self._sizes:
            while len(inputs) - start >= size:
                results.append(self._compute(inputs[start : start + size]))
                start += size - 2 * self._inputs(self._half.context)
        self._waiting = inputs[start:].copy()  # a view would keep the whole chunk alive
        return np.concatenate(results)

    def finish(self) -> Num[np.ndarray, " m *rest"]:
        """Results of what still waits; a partial last frame is filled with zeros."""
        results, rest = [self._half.empty], self._waiting
        if rest is not None and self._half.delay and (self._done or len(rest)):
            silence = self._inputs(self._half.delay), *rest.shape[1:]
            results.append(self.push(np.zeros(silence, rest.dtype)))
            rest = self._waiting
        self._is_finished = True
        frames = 0 if rest is None else -(-len(rest) // self._half.units[0]) - self._half.context
        if rest is None or not frames:
            return np.concatenate(results)
        size = next(size for size in self._last_sizes if size >= len(rest))
        block = np.zeros((size, *rest.shape[1:]), rest.dtype)
        block[: len(rest)] = rest
        return np.concatenate([*results, self._compute(block, frames)])

    def _inputs(self, frames: int) -> int:
        return frames * self._half.units[0]

    def _compute(self, block: np.ndarray, frames_left: int | None = None) -> np.ndarray:
        """Of a block with its context; `frames_left` ends the recording."""
        (per_input, per_output), context = self._half.units, self._half.context
        size = len(block) // per_input
        frames = size - 2 * context if frames_left is None else frames_left
        start = max(0, context - self._done)
        stop = size + 1 if frames_left is None else context + frames_left
        span = np.array([[start], [stop]], np.int32)
        results, self._state = self._half.run(block[None], span, self._state)
        begin = max(context, context + self._half.delay - self._done)
        self._done += frames
        return np.asarray(results)[0, begin * per_output : (context + frames) * per_output]
