"""A full disk as one clear line, whichever library met it."""

import contextlib
import gc
import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.disk_space import FULL
from audiolm_jax.artifacts.refusals import chain
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import latest_step


@contextlib.contextmanager
def name_full_disk(directory: Path) -> Iterator[None]:
    """Turns a failure to write for want of space, caused directly or not, into an `InputError`."""
    try:
        yield
    except Exception as error:
        if not any(isinstance(x, OSError) and x.errno in FULL for x in chain(error)):
            raise
        _drop_unfinished_writes(error)
        reason = " ".join(str(error).split())[:200]
        step = latest_step(directory)
        last, again = "no checkpoint yet", "start again"
        if step is not None:
            last, again = f"last whole checkpoint: step {step}", "start again to go on from it"
        full = f"{directory}: no space left on the disk ({reason})"
        raise InputError(f"{full}; {last}; free some space and {again}") from error


def _drop_unfinished_writes(error: BaseException) -> None:
    """Ends the tasks of a failed save now: at the end of the process they would complain."""
    for cause in chain(error):
        traceback.clear_frames(cause.__traceback__)
    tasks = logging.getLogger("asyncio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tasks.disabled = True
        gc.collect()
        tasks.disabled = False
