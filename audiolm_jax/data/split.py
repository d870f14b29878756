"""Which audio training never sees: a hash gives every file a place, and the lowest are held out;
or the end of each long file; or what a corpus itself names so."""

import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import Iterable

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int, UInt

from audiolm_jax.audio.names import named, shown
from audiolm_jax.data.file_index import KNOWN, FileIndex
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.errors import InputError

# Between the two parts of a file that is split by time; no shorter part is held out.
GAP_SECONDS = 5.0
_HELDOUT_NAME = re.compile(r"(held|dev|test|valid|eval)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Groups:
    """What each file shares with all that is held out together with it."""

    codes: Int[np.ndarray, " files"]
    names: list[str]  # as `audio.names` shows them

    def of(self, file: int) -> str:
        """The name of a file's group."""
        return self.names[self.codes[file]]


def groups_of(
    files: FileIndex, used: Int[np.ndarray, " n"], config: AudioDataConfig
) -> Groups | None:
    """The group of each file; None where files stand alone. InputError if nothing names that of a
    file that is used."""
    unit = config.split_by
    if unit in ("file", "time"):
        return None
    if isinstance(unit, int):
        return _by_folder(files, used, unit, config)
    column = "split" if unit == "official" else unit
    if column in KNOWN:
        groups = Groups(*files.words(column))
    else:
        names = (str(files.row(number).get(column, "")) for number in range(len(files)))
        groups = _coded(map(shown, names))
    is_nameless = np.array([not name for name in groups.names], bool)[groups.codes]
    if (nameless := used[is_nameless[used]]).size:
        path, row = files.value("path", int(nameless[0])), files.row(int(nameless[0]))
        known = ", ".join(sorted(column for column, value in row.items() if value)) or "nothing"
        raise _nameless(path, f"has no {column}, of it are known: {known}", config)
    return groups


def _by_folder(
    files: FileIndex, used: Int[np.ndarray, " n"], depth: int, config: AudioDataConfig
) -> Groups:
    counts = pc.count_substring(files.columns["path"], "/").to_numpy()
    if (shallow := used[counts[used] < depth]).size:
        path, count = files.value("path", int(shallow[0])), counts[shallow[0]]
        raise _nameless(path, f"lies in {count} folders, expected {depth} or more", config)
    return _coded("/".join(path.split("/")[:-1][:depth]) for path in files.texts("path"))


def _coded(names: Iterable[str]) -> Groups:
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(name, len(known)) for name in names), np.int32)
    return Groups(codes, list(known))


def _nameless(path: str, what: str, config: AudioDataConfig) -> InputError:
    return InputError(
        f"--data.split-by = {config.split_by}: {config.source}/{path} {what}; move it, name it "
        "in metadata.tsv or leave it out with --data.exclude"
    )


def places_of(
    digests: UInt[np.ndarray, " files"], groups: Groups | None, config: AudioDataConfig
) -> Float[np.ndarray, " files"]:
    """Place of each file in [0, 100), by its content or the name of its group. The whole part is
    the hash modulo 100: nothing else counts for a whole percent. An official part lies at an end.
    Of the hashes, SHA-256, the first eight bytes count, as a number."""
    if groups is None:
        return _places(digests)
    if config.split_by == "official":
        ends = np.array([0.0 if _HELDOUT_NAME.match(name) else 99.0 for name in groups.names])
        return ends[groups.codes]
    hashes = [hashlib.sha256(os.fsencode(named(name))).digest() for name in groups.names]
    return _places(np.array([int.from_bytes(x[:8]) for x in hashes], np.uint64))[groups.codes]


def _places(numbers: UInt[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    fractions = numbers // 100
    fractions %= 10**9
    places = fractions / 10**9
    places += numbers % 100
    return places


def heldout_below(
    config: AudioDataConfig, places: Float[np.ndarray, " n"], seconds: Float[np.ndarray, " n"]
) -> float:
    """The place from which on files are trained on, given places and the seconds of audio there."""
    if config.split_by == "official":
        return 1.0
    if config.heldout_minutes is None:
        return float(config.heldout_percent)
    distinct, which = np.unique(places, return_inverse=True)
    before = np.cumsum(np.bincount(which, seconds)) >= 60 * config.heldout_minutes
    reached = int(np.argmax(before)) + 1 if before.any() else len(distinct)
    return float(distinct[reached]) if reached < len(distinct) else 100.0


def share_in_time(config: AudioDataConfig, seconds: Iterable[float]) -> float:
    """The share, 0 to 1, of each file that its end holds out, given the lengths of all; files whose
    share is shorter than `GAP_SECONDS` are not cut. Minutes are reached with the smallest share."""
    if config.heldout_minutes is None:
        return config.heldout_percent / 100
    lengths, total, share = [*sorted(seconds, reverse=True), 0.0], 0.0, 0.0
    for length, following in itertools.pairwise(lengths):
        total += length
        share = max(GAP_SECONDS / length, 60 * config.heldout_minutes / total)
        if share * following < GAP_SECONDS:
            break
    return min(1.0, share)


def parts_in_time(samples: int, rate_hz: int, share: float) -> list[tuple[Split, int, int]]:
    """(split, first sample, end) of the parts of a file, without the gap between them."""
    heldout, gap = round(samples * share), round(GAP_SECONDS * rate_hz)
    if heldout < gap:
        return [("train", 0, samples)]
    start = samples - heldout
    return [("train", 0, max(0, start - gap)), ("heldout", start, samples)]
