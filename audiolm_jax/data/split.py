"""Which audio training never sees: a hash gives every file a place, and the lowest are held out;
or the end of each long file; or what a corpus itself names so."""

import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable

from audiolm_jax.audio.names import named
from audiolm_jax.data.metadata import Row
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.errors import InputError

# Between the two parts of a file that is split by time; no shorter part is held out.
GAP_SECONDS = 5.0
_HELDOUT_NAME = re.compile(r"(held|dev|test|valid|eval)", re.IGNORECASE)


def group_of(path: str, row: Row, config: AudioDataConfig) -> str:
    """The name that a file shares with all that is held out together with it; "" for files that
    stand alone, and where `split_by` is "time". InputError if nothing names it."""
    unit, folders = config.split_by, path.split("/")[:-1]
    if unit in ("file", "time"):
        return ""
    if isinstance(unit, int):
        if len(folders) < unit:
            raise _nameless(
                path, f"lies in {len(folders)} folders, expected {unit} or more", config
            )
        return "/".join(folders[:unit])
    column = "split" if unit == "official" else unit
    if not (value := row.get(column, "")):
        known = ", ".join(sorted(column for column, value in row.items() if value)) or "nothing"
        raise _nameless(path, f"has no {column}, of it are known: {known}", config)
    return value


def _nameless(path: str, what: str, config: AudioDataConfig) -> InputError:
    return InputError(
        f"--data.split-by = {config.split_by}: {config.audio_dir}/{path} {what}; move it, name it "
        "in metadata.tsv or leave it out with --data.exclude"
    )


def place_of(sha256: str, group: str, config: AudioDataConfig) -> float:
    """Place of a file in [0, 100), by its content or the name of its group. The whole part is the
    hash modulo 100: nothing else counts for a whole percent. An official part lies at an end."""
    if config.split_by == "official":
        return 0.0 if _HELDOUT_NAME.match(group) else 99.0
    if group:
        sha256 = hashlib.sha256(os.fsencode(named(group))).hexdigest()
    number = int(sha256[:16], 16)
    return number % 100 + number // 100 % 10**9 / 10**9


def heldout_below(config: AudioDataConfig, places: Iterable[tuple[float, float]]) -> float:
    """The place from which on files are trained on, given places and the seconds of audio there."""
    if config.split_by == "official":
        return 1.0
    if config.heldout_minutes is None:
        return float(config.heldout_percent)
    seconds, total = defaultdict[float, float](float), 0.0
    for place, here in places:
        seconds[place] += here
    for place, here in sorted(seconds.items()):
        if total >= 60 * config.heldout_minutes:
            return place
        total += here
    return 100.0


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
