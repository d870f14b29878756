"""Whether all hosts of a run see one folder, found before anything is trained."""

import time
import uuid
from pathlib import Path

from audiolm_jax.artifacts.storage import is_remote
from audiolm_jax.errors import InputError
from audiolm_jax.training.distributed import from_all_hosts, from_first_host

_PATIENCE_SECONDS = 10.0  # network file systems show a new file late


def check_shared(directory: Path, patience_seconds: float = _PATIENCE_SECONDS) -> None:
    """InputError on every host unless each sees what the first one writes at `directory`, a run's
    folder. Nothing of it stays: a folder that is not there yet is left for the run to claim. Of a
    bucket nothing is asked: it is one for all.
    """
    if is_remote(directory):
        return
    name = f".{uuid.uuid4().hex}"

    def write() -> list[str]:
        place = directory if directory.is_dir() else directory.parent
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / name).touch()
        except OSError as error:
            reason = f"cannot be written ({error.strerror})"
            raise InputError(f"--directory {directory}: {place} {reason}") from error
        return [name, "." if place == directory else ".."]

    written, level = from_first_host(write)
    token = (directory if level == "." else directory.parent) / written
    deadline = time.monotonic() + patience_seconds
    while not (sees := token.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        blind = [number for number, saw in enumerate(from_all_hosts(sees)) if not saw]
    finally:
        if written == name:
            token.unlink(missing_ok=True)
    if blind:
        numbers = ", ".join(map(str, blind))
        raise InputError(
            f"--directory {directory}: process {numbers} does not see what process 0 writes there; "
            "name a folder on a disk that all hosts share, or a bucket"
        )
