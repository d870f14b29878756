"""Minimal pairs on disk: a table of two files a line, or the folders of ZeroSpeech 2021 and of
spoken StoryCloze (`cloze`).

A table is tab-separated text whose header names the columns `kind`, `speaker`, `good` and `bad`;
files are named from the table's folder. Accuracies are also told apart by the columns `type` and
`voice` where they are; other columns are not read.

ZeroSpeech's folder holds `lexical/dev` (sWUGGY) and `syntactic/dev` (sBLIMP), or one of them: audio
files and a `gold.csv` with a line a file. Its columns that are read: `id`, `filename` (without
suffix), `voice`, `correct` (1 or 0); of lexical also `frequency` and, where there is one, `length`;
of syntactic `type` and `subtype`. Lines of equal id (and type and subtype) and voice are a pair.
"""

import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.pairs.cloze import cloze_sets, read_cloze

LEXICAL, SYNTACTIC = "lexical", "syntactic"
_TABLE = ("kind", "speaker", "good", "bad")
_TABLE_GROUPS = ("type", "voice")
_GOLD = ("id", "filename", "voice", "correct")
_GOLD_OF = {LEXICAL: ("frequency",), SYNTACTIC: ("type", "subtype")}
# Occurrences in LibriSpeech up to which a band reaches, itself left out, under ZeroSpeech's labels.
_BANDS = {"oov": 1, "1-5": 5, "6-20": 20, "21-100": 100}

Line = tuple[str, dict[str, str]]  # "file:line" and its cells by column


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two utterances of one voice, of which the first is right."""

    kind: str
    key: str  # pairs of one kind and key are the same in several voices
    good: Path
    bad: Path
    groups: Mapping[str, str]  # what accuracies are told apart by: {"type": "pronoun"}


def tables_of(place: Path, part: str) -> dict[str, Path]:
    """The tables of a set of pairs: "pairs", or gold.csv by ZeroSpeech's kinds; none of cloze."""
    if not place.is_dir():
        return {"pairs": place}
    folders = {kind: place / kind / part for kind in (LEXICAL, SYNTACTIC)}
    found = {kind: path / "gold.csv" for kind, path in folders.items() if path.is_dir()}
    if not found and not cloze_sets(place):
        expected = f"expected {LEXICAL}/{part} or {SYNTACTIC}/{part} with gold.csv, or sSC or tSC"
        raise InputError(f"{place}: {expected}, or name a table of pairs")
    return found


def read_pairs(place: Path, part: str) -> list[Pair]:
    """All pairs of a table, of ZeroSpeech's folders or of a cloze, in the order of their lines.

    InputError if a table cannot be read, lacks a column or a member of a pair, names a file that is
    not there or twice, or if ZeroSpeech's folder has audio without a line.
    """
    pairs = []
    for kind, table in tables_of(place, part).items():
        pairs += _read_table(table) if kind == "pairs" else _read_gold(table, kind)
    if place.is_dir():
        for kind, folder in cloze_sets(place).items():
            pairs += [Pair(kind, key, good, bad, {}) for key, good, bad in read_cloze(folder)]
    return pairs


def hashes_of(pairs: Sequence[Pair]) -> list[str]:
    """SHA-256 of every file, in order."""
    return [file_sha256(path) for pair in pairs for path in (pair.good, pair.bad)]


def _read_table(table: Path) -> list[Pair]:
    pairs = []
    for where, row in _lines(table, "\t", _TABLE):
        good, bad = (table.parent / row[member] for member in ("good", "bad"))
        for path in (good, bad):
            if not path.is_relative_to(table.parent):
                raise InputError(f"{where}: {path}: expected a path below the table's folder")
            if not path.is_file():
                raise InputError(
                    f"{where}: {path}: no such file; make the audio of the pairs again"
                )
        groups = {name: row[name] for name in _TABLE_GROUPS if name in row}
        pairs.append(Pair(row["kind"], where, good, bad, groups))
    return pairs


def _read_gold(table: Path, kind: str) -> list[Pair]:
    files = {path.stem: path for path in _audio(table.parent)}
    keys = _GOLD_OF[kind][:2] if kind == SYNTACTIC else ()
    # Members by what makes them a pair: right ones, then wrong ones.
    members: dict[tuple[str, ...], tuple[list[Line], list[Line]]] = {}
    seen: dict[str, str] = {}
    for where, row in _lines(table, ",", (*_GOLD, *_GOLD_OF[kind])):
        name, correct = row["filename"], row["correct"]
        if correct not in ("0", "1"):
            raise InputError(f"{where}: correct = {correct!r}: expected 1 or 0")
        if name in seen:
            raise InputError(f"{where}: {name} has a line already: {seen[name]}")
        if name not in files:
            raise InputError(f"{where}: no audio {name}.* beside it; download the set again")
        seen[name] = where
        key = (*(row[column] for column in keys), row["id"], row["voice"])
        members.setdefault(key, ([], []))[correct == "0"].append((where, row))
    if without := sorted(set(files) - set(seen)):
        count = f"{len(without)} audio files without a line"
        raise InputError(f"{table}: {count}, the first {without[0]}; download the set again")
    pairs = []
    for key, (right, wrong) in members.items():
        if len(right) != len(wrong):
            where = (right or wrong)[0][0]
            raise InputError(
                f"{where}: pair {' '.join(key[:-1])} in voice {key[-1]} has {len(right)} right and "
                f"{len(wrong)} wrong members: expected one for one"
            )
        for (where, row), (_, other) in zip(right, wrong, strict=True):
            groups = {name: row[name] for name in keys}
            if kind == LEXICAL:
                groups = _lexical_groups(row, where)
            paths = files[row["filename"]], files[other["filename"]]
            pairs.append(Pair(kind, "/".join(key[:-1]), *paths, groups))
    return pairs


def _lexical_groups(row: Mapping[str, str], where: str) -> dict[str, str]:
    """Vocabulary and band of a word's frequency, neither if it is not told, and its length."""
    groups = {}
    if row["frequency"]:
        try:
            frequency = float(row["frequency"])
        except ValueError:
            frequency = -1
        if not frequency >= 0:
            raise InputError(f"{where}: frequency = {row['frequency']!r}: expected 0 or more")
        groups["vocabulary"] = "in" if frequency >= 1 else "out"
        bands = (label for label, limit in _BANDS.items() if frequency < limit)
        groups["frequency"] = next(bands, ">100")
    if row.get("length"):
        groups["length"] = row["length"]
    return groups


def _audio(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in FORMATS and not path.name.startswith("."):
            yield path


def _lines(table: Path, delimiter: str, columns: Sequence[str]) -> list[Line]:
    """Every line after the header; `columns` must be there, and their cells filled but for
    frequency's."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(
                file,
                delimiter=delimiter,
                quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
                strict=True,
            )
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or f"it is no such table ({error})"
        raise InputError(f"{table}: cannot be read: {reason}") from error
    header = rows[0][1] if rows else []
    if missing := [column for column in columns if column not in header]:
        raise InputError(f"{table}: no column {missing[0]!r}: expected {', '.join(columns)}")
    if len(rows) == 1:
        raise InputError(f"{table}: holds no pairs: expected lines after the header")
    lines = []
    for number, cells in rows[1:]:
        where = f"{table}:{number}"
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} cells: expected {len(header)}")
        row = dict(zip(header, cells, strict=True))
        if empty := [column for column in columns if not row[column] and column != "frequency"]:
            raise InputError(f"{where}: {empty[0]} is empty")
        lines.append((where, row))
    return lines
