"""A trace of a few updates, for TensorBoard's profiler or Perfetto."""

import contextlib
from pathlib import Path
from typing import Any

import jax

from audiolm_jax.artifacts.mirror import mirrored

PROFILE = "profile"


class Profile(contextlib.ExitStack):
    """Traces a range of updates, counted from 1, to the folder `profile`."""

    def __init__(self, directory: Path, steps: range):
        super().__init__()
        self._directory, self._steps, self._tracing = directory / PROFILE, steps, False

    def before(self, step: int) -> None:
        """Begins the trace if update `step` is to be in it."""
        if step in self._steps and not self._tracing:
            folder = self.enter_context(mirrored(self._directory))
            self.enter_context(jax.profiler.trace(str(folder)))
            self._tracing = True

    def after(self, step: int, result: Any) -> None:
        """Ends the trace after its last update, whose result is waited for."""
        if self._tracing and step == self._steps[-1]:
            jax.block_until_ready(result)
            self.close()
