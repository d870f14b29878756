"""A folder for programs that know no buckets: filled on this machine, sent to its address."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.storage import BucketPath, files_below


class Mirror(contextlib.ExitStack):
    """What is written to `folder` appears in a folder or below an address: there at once, here at
    each `send` and at the end of the block. What lies there already stays."""

    def __init__(self, target: Path):
        super().__init__()
        self.folder = target
        self._target = target if isinstance(target, BucketPath) else None
        self._sent: dict[str, tuple[int, int]] = {}
        if self._target is not None:
            self.folder = self.enter_context(scratch_folder())
            self.callback(self.send)

    @property
    def is_remote(self) -> bool:
        """Whether `folder` is another than the target."""
        return self._target is not None

    def send(self) -> None:
        """Sends what has changed."""
        if self._target is None:
            return
        for name, status in files_below(self.folder).items():
            state = (status.st_size, status.st_mtime_ns)
            if self._sent.get(name) != state:
                (self._target / name).put(self.folder / name)
                self._sent[name] = state


@contextlib.contextmanager
def mirrored(target: Path) -> Iterator[Path]:
    """The folder of a `Mirror`, sent when the block ends."""
    with Mirror(target) as mirror:
        yield mirror.folder
