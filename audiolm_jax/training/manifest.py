"""What a run is: its manifest, and the claim of one process on one run directory.

The manifest is written before step 0 and goes into every checkpoint. From its first checkpoint on a
run directory belongs to one config, one data set and one set of upstream models: whatever would mix
two is refused. All of them are known by what they are, not by where they lie.
"""

import contextlib
import datetime
import importlib.metadata
import itertools
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.artifacts.identity import (
    ABSENT,
    changes,
    described,
    differences,
    is_moved,
    without_places,
)
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.errors import InputError
from audiolm_jax.training.config import may_change
from audiolm_jax.training.distributed import from_all_hosts, from_first_host

MANIFEST = "manifest.json"

_PACKAGES = ("audiolm_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_FIXED = ("seeds", "data", "upstream", "warm_start")


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
        **described(config),
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
def claim_run(directory: Path, manifest: dict[str, Any], evidence: Sequence[str]) -> Iterator[None]:
    """Makes this process, or the hosts of this run, the only trainer of a run directory.

    Of several hosts the first one does it for all; see `enter_run`. InputError at once if another
    process trains there, and on all hosts, with nothing claimed, if one of them would train
    something else.
    """
    _check_same(directory, manifest)
    with contextlib.ExitStack() as stack:

        def claim() -> None:
            stack.enter_context(only_writer(directory))
            enter_run(directory, manifest, evidence)

        from_first_host(claim)
        yield


def _check_same(directory: Path, manifest: dict[str, Any]) -> None:
    mine = agreed_on(manifest)
    first = from_first_host(lambda: mine)
    name, theirs, own = next(differences("", first, mine), (None, None, None))
    what = None if name is None else f"{name[1:]} is {_show(own)}, not {_show(theirs)}"
    for number, line in enumerate(from_all_hosts(what)):
        if line is not None:
            raise InputError(
                f"{directory}: process {number} was started with another config, code, data or "
                f"upstream models than process 0 ({line}); give all the same command and files"
            )


def agreed_on(manifest: dict[str, Any]) -> dict[str, Any]:
    """What all hosts of a run have alike, wherever its files lie on each."""
    start = dict(manifest.get("warm_start") or {}, source=None)
    fixed = {part: manifest.get(part) for part in _FIXED} | {"warm_start": start}
    return {"config": without_places(manifest), **fixed, "code": manifest.get("code")}


def enter_run(directory: Path, manifest: dict[str, Any], evidence: Sequence[str]) -> None:
    """Writes the manifest of a run directory whose only writer this process is.

    A start that failed before anything was kept leaves the directory free: a manifest counts once
    there is `evidence`, a path in the directory that fits one of these patterns. Then config,
    seeds, data, upstream and warm_start must be the same, or InputError; only `loop.steps` may have
    grown, which extends the run, places may be others, fields that came since must do what was done
    before, and what `config.may_change` names may differ.
    """
    path = directory / MANIFEST
    if path.exists() and any(any(directory.glob(pattern)) for pattern in evidence):
        there = read_manifest(directory)
        fixed = (differences(x, there.get(x, ABSENT), manifest.get(x, ABSENT)) for x in _FIXED)
        for name, old, new in itertools.chain(changes(there, manifest), *fixed):
            if name.endswith(".loop.steps") and isinstance(old, int) and new > old:
                continue
            if may_change(name) or name == "warm_start.source":
                continue
            raise InputError(
                f"{path}: {name} is {_show(old)} in this run directory and {_show(new)} now; "
                f"use another directory, or delete {directory} to start again"
            )
        if there["config"] == manifest["config"] and not is_moved(there, manifest):
            return
    write_json(path, manifest)


def _show(value: Any) -> str:
    text = value if value is ABSENT else json.dumps(value)
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
