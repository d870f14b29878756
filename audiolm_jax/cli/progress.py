"""The line that says how far generation is: stage, seconds made, tokens/s, factor to real time."""

import logging
import sys
import time
from typing import Any

from audiolm_jax.artifacts.terminal import draws

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0  # between two lines

logger = logging.getLogger(__name__)


class ProgressLine:
    """Takes the `progress` of a pipeline: on a terminal one line, rewritten, elsewhere a line every
    ten seconds."""

    def __init__(self, prompt_seconds: float, seconds: float):
        """Of all results: of their prompts, and what is to be made."""
        self._prompt, self._whole = prompt_seconds, seconds
        self._start = self._shown = time.monotonic()
        self._tokens, self._width = 0, 0
        self._is_terminal = draws()

    def __call__(self, stage: str, tokens: int, seconds: float) -> None:
        """A stage has written so many tokens, and so many seconds of sound are there."""
        self._tokens += tokens
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        self._shown, spent = now, max(now - self._start, 1e-9)
        made = max(0.0, seconds - self._prompt)
        line = (
            f"{stage}: {made:.1f} of {self._whole:.1f} s, {self._tokens / spent:.0f} tokens/s, "
            f"{made / spent:.2f} x real time"
        )
        if not self._is_terminal:
            event = {"stage": stage, "made_seconds": made, "of_seconds": self._whole}
            logger.info(line, extra={"event": event})
            return
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._width:  # what follows begins a line
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
