"""Bundles on the Hugging Face hub, by the library `huggingface_hub` (extra `hub`).

A bundle is called OWNER/NAME there, or OWNER/NAME@REVISION: a branch, a tag or a commit. What is
fetched lies in the library's cache, goes on where it was interrupted, and is held against the
fingerprints of its parts when it is loaded. Large files go by plain HTTP (LFS) unless
HF_HUB_DISABLE_XET says otherwise; HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1 forbids asking.
"""

import contextlib
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.archive import unpacked
from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.local_copy import local_folder
from audiolm_jax.artifacts.model_folder import MODEL_JSON, WEIGHTS, read_model_json
from audiolm_jax.artifacts.refusals import chain, is_shortage
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, PARTS
from audiolm_jax.artifacts.storage import at, download, files_below, is_remote
from audiolm_jax.errors import InputError
from audiolm_jax.generation import card
from audiolm_jax.generation.bundle import is_archive, load_bundle, read_record, said_of

# Nothing else of a repository is fetched, sent or removed.
FILES = (
    *(BUNDLE_JSON, card.CONFIG, card.README, card.LICENSE),
    *(f"{part}/{name}" for part in PARTS for name in (MODEL_JSON, WEIGHTS, card.README)),
)
_NAME = re.compile(r"(\w[\w.-]{0,95})/(\w[\w.-]{0,95})(?:@([\w.-][\w./-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HubName:
    """What a bundle is called on a hub."""

    repo: str  # OWNER/NAME
    revision: str | None  # branch, tag or commit; None: the newest

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclasses.dataclass(frozen=True)
class Pushed:
    """A bundle that was published."""

    address: str  # of its page
    commit: str  # 40 hexadecimal digits
    fingerprint: str
    left_here: tuple[str, ...]  # files of the folder that are not of the bundle


def hub_name(text: str) -> HubName | None:
    """The name of a bundle on a hub; None for what cannot be one."""
    match = _NAME.fullmatch(text)
    if match is None or text.endswith(".zip"):
        return None
    repo = f"{match[1]}/{match[2]}"
    if "--" in repo or ".." in text or repo.endswith((".git", ".", "-")):
        return None
    return HubName(repo, match[3])


@contextlib.contextmanager
def at_hand(place: str | Path) -> Iterator[Path]:
    """What a path names if something is there; else, of a name of the hub, the folder of its copy
    in the library's cache, fetched as far as it is not there yet."""
    path = at(place)
    name = None if is_remote(path) or path.exists() else hub_name(path.as_posix())
    if name is None:
        yield path
        return
    folder = fetch(name)
    with _said_of(name, folder, folder):
        yield folder


def fetch(name: HubName) -> Path:
    """The folder of the files of one commit, not verified, in the library's cache; the commit is
    logged, and is the folder's name.

    Raises:
        InputError: the library is not there, the hub is not reached, has no such name or revision,
            or does not let this user read it; one line.
    """
    hub = _library(name)
    with _told(name):
        is_offline = hub.constants.HF_HUB_OFFLINE
        commit = name.revision
        if not is_offline and not (commit and _COMMIT.fullmatch(commit)):
            commit = hub.HfApi().model_info(name.repo, revision=commit).sha
        folder = hub.snapshot_download(
            name.repo, revision=commit, allow_patterns=list(FILES), local_files_only=is_offline
        )
    path = at(folder)
    where = "the cache, HF_HUB_OFFLINE is set" if is_offline else hub.constants.ENDPOINT
    logger.info("%s: revision %s of %s", name.repo, path.name, where)
    return path


def pull(name: HubName, out: Path) -> tuple[str, str]:
    """Writes a verified bundle of the hub into a folder, whole or not at all.

    Returns:
        The fingerprint of the bundle, and the commit it is of.
    """
    folder = fetch(name)
    with atomic_path(out) as scratch:
        download(folder, scratch)
        with _said_of(name, folder, scratch):
            fingerprint = load_bundle(scratch).fingerprint
    return fingerprint, folder.name


@contextlib.contextmanager
def _said_of(name: HubName, cached: Path, folder: Path) -> Iterator[None]:
    """What is wrong with a folder is said of its name and commit, and where the copy lies."""
    try:
        with said_of(f"{name.repo}@{cached.name[:12]}", folder):
            yield
    except InputError as error:
        remedy = f"or, if it is damaged only here, remove {cached.parent.parent}"
        raise InputError(f"{error}; tell its owner, {remedy}") from error


def push(place: Path, name: HubName, is_private: bool = False) -> Pushed:
    """Publishes a bundle, verified, as one commit on the main branch of a repository of the hub,
    which is made if there is none. Pages that hubs want and the bundle lacks are added.

    Raises:
        InputError: no library, no token, one that may not write there, another's commit meanwhile,
            a card or a bundle that is refused; one line.
    """
    hub = _library(name)
    with _told(name):
        token = hub.get_token()
    if token is None:
        raise InputError(f"{name}: no token; set HF_TOKEN to one that may write, or: hf auth login")
    with _folder_of(place) as folder:
        with said_of(str(place), folder):
            fingerprint = load_bundle(folder).fingerprint
            pages = _pages(folder, name)
        files = list(files_below(folder))
        here = [file for file in files if file in FILES and file not in pages]
        left = [file for file in files if file not in FILES]
        with _told(name):
            api = hub.HfApi(library_name=card.LIBRARY)
            api.create_repo(name.repo, private=is_private or None, exist_ok=True)
            head = api.model_info(name.repo).sha
            there = set(api.list_repo_files(name.repo, revision=head))
            add = [
                *(hub.CommitOperationAdd(file, str(folder / file)) for file in here),
                *(hub.CommitOperationAdd(file, text.encode()) for file, text in pages.items()),
            ]
            gone = sorted(there.intersection(FILES) - {operation.path_in_repo for operation in add})
            commit = api.create_commit(
                name.repo,
                [*add, *(hub.CommitOperationDelete(file) for file in gone)],
                commit_message=f"Bundle {fingerprint[:16]}",
                parent_commit=head,
            )
    address = f"{hub.constants.ENDPOINT}/{name.repo}"
    return Pushed(address, commit.oid, fingerprint, tuple(left))


@contextlib.contextmanager
def _folder_of(place: Path) -> Iterator[Path]:
    opened = unpacked(place, BUNDLE_JSON) if is_archive(place) else local_folder(place)
    with opened as folder:
        yield folder


def _pages(folder: Path, name: HubName) -> dict[str, str]:
    """What bundles of before lack: fields at the beginning of the card, config.json, LICENSE."""
    parts = read_record(folder)["parts"]
    records = {part: read_model_json(folder / part) for part in parts}
    title = name.repo.partition("/")[2]
    made = card.pages(title, records, card.Said())
    text, fields = card.read_card(folder)
    missing = {file: page for file, page in made.items() if not (folder / file).is_file()}
    if fields is not None and fields.get("license_link") != card.LICENSE:
        missing.pop(card.LICENSE, None)
    elif fields is None and text:
        missing[card.README] = card.with_head(text, card.fields(title, records, card.Said()))
    return missing


def _library(name: HubName) -> Any:
    # Read when the library is first imported. One road for all, which proxies and mirrors have too.
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"{name}: nothing of that name is here; as a name of the Hugging Face hub it needs the "
            f"package huggingface_hub ({error}): pip install 'audiolm_jax[hub]'"
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def _told(name: HubName) -> Iterator[None]:
    """Whatever the library raises as one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if any(map(is_shortage, chain(error))):
            raise
        raise InputError(f"{name}: {_reason(name, error)}") from error


def _reason(name: HubName, error: Exception) -> str:
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, errors.GatedRepoError):
        return f"its owner lets in who asks: {hub}/{name.repo}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{hub} has no such revision of it; leave @{name.revision} out for the newest"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"nothing of that name is here, and {hub} has no such model, or shows it to others "
            "alone (HF_TOKEN)"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        return f"HF_HUB_OFFLINE is set, and {constants.HF_HUB_CACHE} holds no whole copy of it"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        words = error.server_message or " ".join(str(error).split())[:200]
        refused = {
            401: "does not know this token (HF_TOKEN, hf auth login)",
            403: "gives this token no right to that; make one that may write",
            412: "has a newer commit than the one that this began with; try again",
        }
        return f"{hub} {refused.get(status, f'answered {status}')} ({words})"
    inner = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    words = " ".join(str(inner).split())[:300] or type(inner).__name__
    return f"not done, by way of {hub} ({words})"
