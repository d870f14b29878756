"""The items of an ABX test: triphones, where they are spoken, and by whom.

The file format is Libri-Light's: a header line, then `file onset offset phone previous-phone
next-phone speaker` separated by spaces, seconds from the beginning of `previous-phone` to the end
of `next-phone`. Published sets (Kahn et al. 2020, section 4.2) are read as they are.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Set
from decimal import Decimal
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.data.alignments import SILENCES, AlignedPhone, parse_interval, read_lines
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import Part

HEADER = ("#file", "onset", "offset", "#phone", "prev-phone", "next-phone", "speaker")


@dataclasses.dataclass(frozen=True)
class Item:
    """A triphone as it was said once."""

    file: str  # recording, as in `AlignedPhone.file`
    onset: Decimal  # beginning of the first phone, seconds
    offset: Decimal  # end of the third, seconds
    phone: str  # the one in the middle, which A and B differ in
    previous: str  # the one before, part of the context
    following: str  # the one after, part of the context
    speaker: str


def read_items(path: Path) -> list[Item]:
    """The items of a file; InputError unless it is as this module says and holds some."""
    items = [
        Item(file, *parse_interval(onset, offset, where), *labels)
        for where, (file, onset, offset, *labels) in read_lines(path, HEADER, None)
    ]
    if not items:
        raise InputError(f"{path}: holds no items: expected one a line after the header")
    return items


def is_in_part(file: str, part: Part) -> bool:
    """Whether a recording is of a part, which its name without folders decides."""
    half = int(fingerprint(file.rpartition("/")[2]), 16) % 2
    return part == "all" or half == ("choice", "report").index(part)


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Writes the file that `read_items` reads."""
    rows = [" ".join(HEADER)]
    for item in items:
        fields = [str(value) for value in dataclasses.astuple(item)]
        if any(not field or field.split() != [field] for field in fields):
            raise InputError(f"{path}: {fields}: an item file has no place for spaces in names")
        rows.append(" ".join(fields))
    write_text(path, "\n".join(rows) + "\n")


def triphones(phones: Iterable[AlignedPhone], silences: Set[str] = SILENCES) -> list[Item]:
    """Every three phones of a file in a row, without a gap or silence, by one speaker."""
    items = []
    ordered = sorted(phones, key=lambda phone: (phone.file, phone.onset))
    for file, group in itertools.groupby(ordered, key=lambda phone: phone.file):
        row = list(group)
        for phone, following in itertools.pairwise(row):
            if following.onset < phone.offset:
                raise InputError(
                    f"{file}: {following.phone} begins at {following.onset} s, before "
                    f"{phone.phone} ends at {phone.offset} s; phones must not overlap"
                )
        for first, middle, last in zip(row, row[1:], row[2:], strict=False):
            is_joined = first.offset == middle.onset and middle.offset == last.onset
            is_joined &= first.speaker == middle.speaker == last.speaker
            if is_joined and not silences & {first.phone, middle.phone, last.phone}:
                phones_of_item = (middle.phone, first.phone, last.phone)
                items.append(Item(file, first.onset, last.offset, *phones_of_item, middle.speaker))
    return items
