"""What lies in a folder: the one rule of which files every command takes."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from audiolm_jax.audio.kinds import UNREAD
from audiolm_jax.audio.names import shown


class Walk(NamedTuple):
    """Relative paths below a folder."""

    wanted: list[str]  # sorted as shown
    others: list[str]
    left_out: list[tuple[str, str]]  # path as shown, and why


def walk(root: Path, suffixes: Collection[str]) -> Walk:
    """Files that end in one of `suffixes`, in small letters, all others, and what may be wanted but
    is left out: hidden folders, macOS metadata, sound of formats that are not read; linked folders
    are entered once."""
    wanted: list[str] = []
    others: list[str] = []
    left_out: list[tuple[str, str]] = []
    seen = set()

    def is_wanted(name: str) -> bool:
        return Path(name).suffix.lower() in suffixes

    def leave(path: str, words: str) -> None:
        left_out.append((shown(Path(path).relative_to(root)), words))

    def unread(error: OSError) -> None:
        leave(error.filename, f"folder cannot be read: {error.strerror}; mend or remove it")

    for folder, subfolders, names in os.walk(root, onerror=unread, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        for hidden in (name for name in subfolders if name.startswith(".")):
            below = os.path.join(folder, hidden)
            if count := sum(is_wanted(name) for _, _, inner in os.walk(below) for name in inner):
                words = f"hidden folder with {count} audio files: left out; rename it to use it"
                leave(below, words)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            path = os.path.join(folder, name)
            if is_wanted(name) and name.startswith("._"):
                words = "left out: a name with ._ is that of macOS metadata"
                leave(path, f"{words}; rename it if it is sound")
            elif is_wanted(name):
                wanted.append(os.path.relpath(path, root))
            elif (suffix := Path(name).suffix.lower()) in UNREAD:
                leave(path, f"sound that is not read ({suffix}); convert it to flac or wav")
            else:
                others.append(os.path.relpath(path, root))
    return Walk(sorted(wanted, key=shown), sorted(others), left_out)
