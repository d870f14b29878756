"""Sound in a bucket, for decoders that seek in files of this machine."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.local_copy import local_copy
from audiolm_jax.audio.names import shown
from audiolm_jax.errors import InputError


@contextlib.contextmanager
def at_hand(path: Path) -> Iterator[Path]:
    """The file, or a copy of an object; what is said of the copy is said of the object."""
    with contextlib.ExitStack() as stack:
        try:
            copy = stack.enter_context(local_copy(path, is_kept=True))
        except FileNotFoundError as error:
            raise InputError(f"{shown(path)}: cannot be read: {error.strerror}") from error
        try:
            yield copy
        except InputError as error:
            if copy is path:
                raise
            raise InputError(str(error).replace(shown(copy), shown(path))) from error
