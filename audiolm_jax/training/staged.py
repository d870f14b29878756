"""Checkpoints in buckets. Orbax writes to gs:// itself; for other buckets it writes to a folder of
this machine, from where each checkpoint is uploaded before training goes on."""

import os
from collections.abc import Iterable
from typing import Any

import jax

from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.storage import BucketPath, download, remove_tree, upload
from audiolm_jax.errors import InputError

# What Orbax and TensorStore say where a bucket, and no checkpoint, is at fault.
_REFUSALS = ("UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED", "DEADLINE_EXCEEDED")
_ABOUT = "_CHECKPOINT_METADATA"
_DRIVERS = ("gcsfs", "google", "aiohttp")


def orbax_path(folder: BucketPath) -> Any:
    """What Orbax calls a folder of a gs:// bucket."""
    # Through gcsfs, as everything else: TensorFlow takes long to load, has rules of its own for who
    # may read what, and may see an old listing.
    os.environ.setdefault("EPATH_USE_TF", "false")
    from etils import epath
    from etils.epath import gpath

    gpath._is_tf_installed.cache_clear()  # asked before, of a path of this machine
    return epath.Path(str(folder))


def is_refusal(error: BaseException | None) -> bool:
    """Whether a bucket could not be read, which says nothing of what it holds."""
    while error is not None:
        is_missing = isinstance(error, FileNotFoundError)
        module = type(error).__module__.partition(".")[0]
        words = any(word in str(error) for word in _REFUSALS)
        if not is_missing and (isinstance(error, OSError) or module in _DRIVERS or words):
            return True
        error = error.__cause__ or error.__context__
    return False


class StagedSteps:
    """The checkpoints of a bucket as a folder of this machine: until they are fetched, folders with
    nothing but what Orbax reads of all."""

    def __init__(self, target: BucketPath, whole: Iterable[int], is_read_only: bool):
        if jax.process_count() > 1 and not is_read_only:
            raise InputError(
                f"{target.parent}: several processes write checkpoints to gs:// or to a folder "
                "that all of them see; name one of these"
            )
        self._target, self._scratch = target, scratch_folder()
        self.folder = self._scratch.__enter__() / target.name
        self.folder.mkdir()
        self._whole = set(whole)
        for step in self._whole:
            (self.folder / str(step)).mkdir()
            about = target / str(step) / _ABOUT
            if about.is_file():
                about.fetch(self.folder / str(step) / _ABOUT)
        self._fetched: set[int] = set()
        if not is_read_only:
            for path in target.iterdir():
                if path.name.isdigit() and int(path.name) not in self._whole:
                    remove_tree(path)  # of an upload that was killed

    def fetch(self, step: int) -> None:
        """Fills the folder of a step."""
        folder = self.folder / str(step)
        if step in self._whole - self._fetched and folder.is_dir():
            remove_tree(folder)
            download(self._target / str(step), folder)
            self._fetched.add(step)

    def send(self) -> None:
        """Makes the bucket hold the same steps as the folder."""
        here = {int(path.name) for path in self.folder.iterdir() if path.name.isdigit()}
        for step in sorted(here - self._whole):
            upload(self.folder / str(step), self._target / str(step))
        for step in self._whole - here:
            remove_tree(self._target / str(step))
        self._fetched |= here - self._whole
        self._whole = here

    def drop(self, step: int) -> None:
        """Removes a step here that is no longer there."""
        remove_tree(self.folder / str(step))
        self._whole.discard(step)
        self._fetched.discard(step)

    def close(self) -> None:
        """Removes the folder."""
        self._scratch.__exit__(None, None, None)
