"""What a run is: its manifest, and the claim of one process on one run directory.

The manifest is written before step 0 and goes into every checkpoint. A run directory belongs to
one config, one data set and one set of upstream models: whatever would mix two is refused.
"""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_hash, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.training.config import ADDED, CHANGEABLE
from audiolm_jax.training.distributed import from_first_host

MANIFEST = "manifest.json"
LOCK = ".lock"

_PACKAGES = ("audiolm_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_FIXED = ("config", "seeds", "data", "upstream", "warm_start")
_ABSENT = "absent"


def build_manifest(
    config: Any,
    seeds: dict[str, int],
    data: dict[str, Any],
    upstream: dict[str, str],
    mesh: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What it takes to repeat a run, as JSON values: `data` holds fingerprints and counts,
    `upstream` the fingerprint of every model it builds on; `mesh` may change between starts."""
    return {
        "config": config_to_dict(config),
        "config_hash": config_hash(config),
        "command": sys.argv,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": _git_state(),
        "versions": _versions(),
        "devices": {
            "platform": jax.devices()[0].platform,
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "hosts": jax.process_count(),
        },
        "mesh": mesh,
        "seeds": seeds,
        "data": data,
        "upstream": upstream,
    }


@contextlib.contextmanager
def claim_run(directory: Path, manifest: dict[str, Any]) -> Iterator[None]:
    """Makes this process, or the hosts of this run, the only trainer of a run directory.

    Writes the manifest if there is none. Otherwise config, seeds, data, upstream and warm_start
    must equal those there, or InputError; only `loop.steps` may have grown, which extends the run,
    `config.ADDED` may be new, and the fields of `mesh`, which change the rounding only, and
    `config.CHANGEABLE` may differ.
    """
    with contextlib.ExitStack() as stack:

        def claim() -> str:
            directory.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((directory / LOCK).open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{directory}: another process is training here; use another directory"
                ) from None
            check_manifest(directory, manifest)
            path = directory / MANIFEST
            if not path.exists() or read_manifest(directory)["config"] != manifest["config"]:
                write_json(path, manifest)
            return _identity(manifest)

        if from_first_host(claim) != _identity(manifest):
            raise InputError(
                f"{directory}: process {jax.process_index()} was started with another config, data "
                "or upstream models than process 0; give all the same command and the same files"
            )
        yield


def _identity(manifest: dict[str, Any]) -> str:
    return json.dumps([manifest.get(part) for part in _FIXED], sort_keys=True)


def check_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Raises InputError if the run directory holds a manifest of another run."""
    path = directory / MANIFEST
    if not path.exists():
        return
    there = read_manifest(directory)
    for part in _FIXED:
        for name, old, new in _differences(
            part, there.get(part, _ABSENT), manifest.get(part, _ABSENT)
        ):
            if name.endswith(".loop.steps") and isinstance(old, int) and new > old:
                continue
            if old == _ABSENT and ADDED.get(name.rpartition(".")[2], _ABSENT) == new:
                continue
            if ".mesh." in name or name.rpartition(".loop.")[2] in CHANGEABLE:
                continue
            raise InputError(
                f"{path}: {name} is {_show(old)} in this run directory and {_show(new)} now; "
                f"use another directory, or delete {directory} to start again"
            )


def _differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from _differences(f"{name}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif json.dumps(old) != json.dumps(new):
        yield name, old, new


def _show(value: Any) -> str:
    text = value if value is _ABSENT else json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a run directory; InputError if it is damaged."""
    path = directory / MANIFEST
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a run manifest ({error}); delete the directory") from error


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _git_state() -> dict[str, Any] | None:
    here = Path(__file__)

    def git(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    try:
        # An installed copy may lie inside somebody else's checkout.
        git("ls-files", "--error-unmatch", here.name)
        return {
            "commit": git("rev-parse", "HEAD").strip(),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no").strip()),
        }
    except (OSError, subprocess.CalledProcessError):
        return None
