"""Which phone is spoken when: a plain file of aligned phones.

Tab-separated text: `file phone onset offset speaker`, then a line a phone. Times are seconds, kept
exactly: frames come of rounding, where a binary fraction could fall on the other side.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.errors import InputError

HEADER = ("file", "phone", "onset", "offset", "speaker")
SILENCES = frozenset({"pau", "sil", "SIL", "sp", "spn", "SPN", "h#", "<sil>"})


@dataclasses.dataclass(frozen=True)
class AlignedPhone:
    """One phone of one recording."""

    file: str  # path of the recording below its folder, without the suffix, or only its name
    phone: str  # symbol, any alphabet
    onset: Decimal  # seconds
    offset: Decimal  # seconds, more than `onset`
    speaker: str


def parse_interval(onset: str, offset: str, where: str) -> tuple[Decimal, Decimal]:
    """(onset, offset) in seconds, 0 <= onset < offset, or InputError at `where`, "file:line"."""
    try:
        start, end = Decimal(onset), Decimal(offset)
    except InvalidOperation:
        start = end = Decimal("nan")
    if not (start.is_finite() and end.is_finite() and 0 <= start < end):
        raise InputError(
            f"{where}: onset {onset!r}, offset {offset!r}: expected seconds, 0 <= onset < offset"
        )
    return start, end


def read_lines(
    path: Path, header: Sequence[str], separator: str | None
) -> list[tuple[str, list[str]]]:
    """("file:line", fields) of every line of a table after its header; InputError if it is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from error
    first = lines[0] if lines else ""
    if first.split(separator) != list(header):
        wanted = (separator or " ").join(header)
        raise InputError(f"{path}:1: header {first[:80]!r}: expected {wanted!r}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        fields = line.split(separator)
        if len(fields) != len(header) or not all(fields):
            raise InputError(f"{path}:{number}: {line[:80]!r}: expected {len(header)} fields")
        rows.append((f"{path}:{number}", fields))
    return rows


def read_alignments(path: Path) -> list[AlignedPhone]:
    """The phones of a file, in its order; InputError unless it is as this module says."""
    return [
        AlignedPhone(file, phone, *parse_interval(onset, offset, where), speaker)
        for where, (file, phone, onset, offset, speaker) in read_lines(path, HEADER, "\t")
    ]


def write_alignments(path: Path, phones: Iterable[AlignedPhone]) -> None:
    """Writes the file that `read_alignments` reads."""
    rows = ["\t".join(HEADER)]
    rows += [f"{p.file}\t{p.phone}\t{p.onset}\t{p.offset}\t{p.speaker}" for p in phones]
    write_text(path, "\n".join(rows) + "\n")


def find_recordings(directory: Path, files: Iterable[str]) -> dict[str, Path]:
    """Path of the one recording of each file name of an alignment, searched in depth; a
    name is the path below the directory without the suffix, or the bare name."""
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder of recordings")
    by_name: dict[str, list[Path]] = {}
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() in FORMATS:
            below = path.relative_to(directory).with_suffix("").as_posix()
            for name in {below, path.stem}:
                by_name.setdefault(name, []).append(path)
    recordings = {}
    for file in files:
        paths = by_name.get(file, [])
        if len(paths) != 1:
            raise InputError(
                f"{directory}: {len(paths)} recordings of {file!r}: expected one, "
                f"{file} with one of the suffixes {' '.join(sorted(FORMATS))}"
            )
        recordings[file] = paths[0]
    return recordings
