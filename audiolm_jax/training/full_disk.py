"""A full disk as one clear line, whichever library met it."""

import contextlib
import gc
import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.disk_space import FULL
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import latest_step


@contextlib.contextmanager
def name_full_disk(directory: Path) -> Iterator[None]:
    """Turns a failure to write for want of space, caused directly or not, into an `InputError`."""
    try:
        yield
    except Exception as error:
        if not any(isinstance(x, OSError) and x.errno in FULL for x in _chain(error)):
            raise
        _drop_unfinished_writes(error)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{directory}: no space left on the disk ({reason}); last whole checkpoint: step "
            f"{latest_step(directory)}; free some space and start again to go on from it"
        ) from error


def _drop_unfinished_writes(error: BaseException) -> None:
    """Ends the tasks of a failed save now: at the end of the process they would complain."""
    for cause in _chain(error):
        traceback.clear_frames(cause.__traceback__)
    tasks = logging.getLogger("asyncio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tasks.disabled = True
        gc.collect()
        tasks.disabled = False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
