"""Spoken StoryCloze on disk: one beginning with its right and with a wrong ending.

Paper: Hassid et al. 2023 (TWIST, arXiv:2305.13009). The published sets are a folder each, `sSC` (a
wrong ending that contradicts the story) and `tSC` (one of another story, so another topic), of two
audio files an item: NUMBER_... with `correct` or `incorrect` behind the number.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.audio.files import FORMATS
from audiolm_jax.errors import InputError

SETS = {"sSC": "story_cloze", "tSC": "topic_cloze"}  # folder: kind of its pairs
_NAME = re.compile(r"(\d+)_(?:.*_)?(correct|incorrect)", re.IGNORECASE)
_EXPECTED = "NUMBER_correct and NUMBER_incorrect; or list the pairs in a table"


def cloze_sets(place: Path) -> dict[str, Path]:
    """The sets below a folder, or which it is, by kind."""
    if place.name in SETS:
        return {SETS[place.name]: place}
    return {kind: place / name for name, kind in SETS.items() if (place / name).is_dir()}


def read_cloze(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(number, right, wrong) of every item in the order of the numbers; InputError for a name that
    tells neither, and for an item without one of both."""
    members: dict[int, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in FORMATS or path.name.startswith("."):
            continue
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise InputError(f"{path}: expected a name like {_EXPECTED}")
        own = members.setdefault(int(match[1]), {})
        if other := own.get(side := match[2].lower()):
            raise InputError(f"{path}: a second {side} member; {other.name} is one already")
        own[side] = path
    if not members:
        raise InputError(f"{folder}: holds no audio files, expected {_EXPECTED}")
    for number, own in sorted(members.items()):
        if missing := {"correct", "incorrect"} - set(own):
            (there,) = own.values()
            raise InputError(f"{there}: has no {min(missing)} member beside it; copy the set again")
        yield str(number), own["correct"], own["incorrect"]
