"""The codec on a stream: overlapping windows of a recording whose end is not known yet."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Num

from audiolm_jax.tokenizers.acoustic.dac.windows import HALVINGS
from audiolm_jax.tokenizers.acoustic.streams import Blocks


class WindowStream:
    """Samples in and codes out, or codes in and samples out, one recording from start to end.

    The codec is not causal: a frame waits for the `context` frames after it, and each window
    computes the context on both of its sides again. A window of many frames costs least for each;
    of a single frame nearly all the work is context.

    Attributes:
      latency_frames: a frame's results come out once so many frames, itself among them, are there.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray, int, int], np.ndarray],
        check: Callable[[np.ndarray], None],
        empty: Num[np.ndarray, " 0 *rest"],
        *,
        units: tuple[int, int],
        context: int,
        block_frames: int,
        largest: int,
    ):
        """Args:
          run: (window, frame of it where the recording starts, frame where it stops) -> results of
            all its frames; a stop beyond the window says that the recording goes on.
          check: refuses bad inputs.
          empty: what comes out while no frame is ready.
          units: inputs and outputs per frame.
          context: frames on either side that can change a frame's results.
          block_frames: frames computed together, 1 to `largest`: delay against speed.
          largest: frames computed together when so many wait.

        Raises:
          InputError: block_frames out of range.
        """
        self.latency_frames = block_frames + context
        self._run, self._check, self._empty = run, check, empty
        self._units = units
        self._context = context
        self._blocks = Blocks(units[0], block_frames, largest, context, HALVINGS)
        self._done = 0

    def push(self, inputs: Num[np.ndarray, " n *rest"]) -> Num[np.ndarray, " m *rest"]:
        """Takes the next inputs, any number of them.

        Returns:
          Results of the frames that have all their context now; m may be 0.

        Raises:
          InputError: samples that are not finite; codes out of range, of too many levels, or
            their number changes.
        """
        self._check(inputs)
        windows = self._blocks.add(np.asarray(inputs))
        return np.concatenate([self._empty, *(self._compute(window) for window in windows)])

    def finish(self) -> Num[np.ndarray, " m *rest"]:
        """Results of what still waits; a partial last frame is filled with zeros."""
        window, frames = self._blocks.finish()
        return self._empty if window is None else self._compute(window, frames)

    def _compute(self, window: np.ndarray, frames_left: int | None = None) -> np.ndarray:
        per_input, per_output = self._units
        size, context = len(window) // per_input, self._context
        start = max(0, context - self._done)
        frames = size - 2 * context if frames_left is None else frames_left
        stop = size + 1 if frames_left is None else context + frames_left
        self._done += frames
        results = self._run(window, start, stop)
        return results[context * per_output : (context + frames) * per_output]
