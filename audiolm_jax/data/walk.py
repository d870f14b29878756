"""What lies in a folder: the one rule of which files every command takes."""

import dataclasses
import os
import re
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import BucketPath, files_below
from audiolm_jax.audio.kinds import UNREAD
from audiolm_jax.audio.names import shown

_TICK_SECONDS = 2  # the coarsest clock of a file system
_HIDDEN = "hidden folder with {} audio files: left out; rename it to use it"
_MACOS = "left out: a name with ._ is that of macOS metadata; rename it if it is sound"
_UNREAD = "sound that is not read ({}); convert it to flac or wav"
_NAMELESS = "left out: an empty part, . or .. in the name of an object; rename it"


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file or folder that is not used, and why; or one that is, and what is wrong with it."""

    path: str  # relative to the audio folder, as `audio.names` shows it
    reason: str  # one line

    @property
    def kind(self) -> str:
        """The reason without what differs from file to file."""
        return re.split(r"[:(,]|\s(?=\S*\d)", self.reason, maxsplit=1)[0].strip()


@dataclasses.dataclass(frozen=True)
class Walk:
    """Relative paths below a folder."""

    wanted: list[str]  # sorted as shown
    others: list[str]
    left_out: list[BadFile]
    times: dict[str, int]  # of each folder, as shown, nanoseconds: what is added changes it; -1
    # for one that changed just now, whose time may not tell what is added next. Buckets have none.
    states: dict[str, tuple[int, int]] | None = None  # in a bucket bytes and time of each file

    @property
    def suffixes(self) -> tuple[tuple[str, int], ...]:
        """(suffix, count) of `others`."""
        counts = Counter(shown(_suffix(name)) for name in self.others)
        return tuple(sorted(counts.items()))


def walk(root: Path, suffixes: Collection[str]) -> Walk:
    """Files that end in one of `suffixes`, in small letters, all others, and what may be wanted but
    is left out: hidden folders, macOS metadata, sound of formats that are not read; linked folders
    are entered once."""
    wanted: list[str] = []
    others: list[str] = []
    left_out: list[BadFile] = []
    times: dict[str, int] = {}
    seen = set()
    if isinstance(root, BucketPath):
        return _listed(root, suffixes)

    def is_wanted(name: str) -> bool:
        return _suffix(name) in suffixes

    def leave(path: str, words: str) -> None:
        left_out.append(BadFile(shown(os.path.relpath(path, root)), words))

    def unread(error: OSError) -> None:
        if is_shortage(error):
            raise error
        leave(error.filename, f"folder cannot be read: {error.strerror}; mend or remove it")

    for folder, subfolders, names in os.walk(root, onerror=unread, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        changed = os.stat(folder).st_mtime_ns
        is_old = time.time_ns() - changed > _TICK_SECONDS * 10**9
        times[shown(os.path.relpath(folder, root))] = changed if is_old else -1
        for hidden in (name for name in subfolders if name.startswith(".")):
            below = os.path.join(folder, hidden)
            if count := sum(is_wanted(name) for _, _, inner in os.walk(below) for name in inner):
                leave(below, _HIDDEN.format(count))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        start = "" if (inner := os.path.relpath(folder, root)) == "." else f"{inner}/"
        for name in names:
            path, suffix = start + name, _suffix(name)
            if suffix in suffixes and name.startswith("._"):
                left_out.append(BadFile(shown(path), _MACOS))
            elif suffix in suffixes:
                wanted.append(path)
            elif suffix in UNREAD:
                left_out.append(BadFile(shown(path), _UNREAD.format(suffix)))
            else:
                others.append(path)
    return Walk(sorted(wanted, key=shown), sorted(others), left_out, times)


def _listed(root: BucketPath, suffixes: Collection[str]) -> Walk:
    """`walk` of what a bucket holds, by one listing."""
    wanted: list[str] = []
    others: list[str] = []
    left_out: list[BadFile] = []
    hidden: Counter[str] = Counter()
    states = {name: (x.st_size, x.st_mtime_ns) for name, x in files_below(root).items()}
    for name in states:
        *folders, last = name.split("/")
        is_wanted = _suffix(name) in suffixes
        depth = next((n for n, folder in enumerate(folders) if folder.startswith(".")), None)
        if {"", ".", ".."} & {*folders}:
            left_out.append(BadFile(shown(name), _NAMELESS))
        elif depth is not None:
            hidden["/".join(folders[: depth + 1])] += is_wanted
        elif is_wanted and last.startswith("._"):
            left_out.append(BadFile(shown(name), _MACOS))
        elif is_wanted:
            wanted.append(name)
        elif (suffix := _suffix(name)) in UNREAD:
            left_out.append(BadFile(shown(name), _UNREAD.format(suffix)))
        else:
            others.append(name)
    left_out += [BadFile(shown(name), _HIDDEN.format(n)) for name, n in hidden.items() if n]
    return Walk(sorted(wanted, key=shown), sorted(others), left_out, {}, states)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
