"""The clips of a folder by a config: which files, cut where, held out or not; by columns, so that
millions of clips cost a few numbers each."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from audiolm_jax.audio.resample import resampled_lengths
from audiolm_jax.data.file_facts import is_excluded
from audiolm_jax.data.file_index import FileIndex, narrow
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.data.split import (
    Groups,
    groups_of,
    heldout_below,
    parts_in_time,
    places_of,
    share_in_time,
)
from audiolm_jax.data.windows import WindowsOfAll

# Quieter than this over the whole file counts as silent: 16-bit dither lies near -96 dBFS.
SILENCE_DBFS = -60.0
_AT_ONCE = 1 << 16  # clips whose words are in memory together


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """A file, or one of the consecutive stretches of a long file."""

    clip_id: str  # path; "#index" follows for stretches
    path: str  # relative to the audio folder, with "/", as `audio.names` shows it
    start_seconds: float  # where the clip begins in the file
    source_samples: int  # at the file's own rate
    num_samples: int  # at the config's rate
    source_rate_hz: int
    channels: int  # of the file; their mean is used
    codec: str  # FFmpeg's name
    sha256: str  # of the file's bytes
    split: Split  # the same for all stretches of a file, unless it is split by time
    speaker: str  # by the corpus, metadata or the first folder below the audio folder; "": unknown
    text: str  # transcript, "" if there is none or the file was cut
    accent: str = ""  # this and the following as metadata has them, "" if it does not
    language: str = ""
    gender: str = ""  # "male" and "female" whatever the list calls them
    group: str = ""  # name of all that is held out with it, "" for its content alone
    file_state: tuple[int, int] | None = None  # bytes of the file and its time when it was indexed
    packed: int | None = None  # number of the file in a pack, None for a file of its own


@dataclasses.dataclass(frozen=True)
class ClipTable:
    """What differs between the clips of one file; the rest is the file's."""

    files: FileIndex
    file: Int[np.ndarray, " clips"]  # row of `files`
    part: Int[np.ndarray, " clips"]  # number of the stretch, -1 for a whole file
    start: Int[np.ndarray, " clips"]  # at the file's own rate
    source_samples: Int[np.ndarray, " clips"]
    num_samples: Int[np.ndarray, " clips"]
    is_heldout: Bool[np.ndarray, " clips"]
    groups: Groups | None = None  # by row of `files`; None if files stand alone


class Clips(Sequence[ClipInfo]):
    """Some rows of a table, each made when it is asked for."""

    def __init__(self, table: ClipTable, rows: Int[np.ndarray, " n"] | None = None):
        """All rows in order if `rows` is None."""
        self._table = table
        self._rows = narrow(np.arange(len(table.file)), np.int32) if rows is None else rows

    @property
    def num_samples(self) -> Int[np.ndarray, " n"]:
        """Samples of each clip at the config's rate."""
        return self._table.num_samples[self._rows]

    @property
    def source_seconds(self) -> np.ndarray:
        """Seconds of each clip, float64 [n]."""
        return self._table.source_samples[self._rows] / self.numbers("rate_hz")

    @property
    def is_heldout(self) -> Bool[np.ndarray, " n"]:
        """Whether training never sees a clip."""
        return self._table.is_heldout[self._rows]

    @property
    def files(self) -> Int[np.ndarray, " n"]:
        """Of each clip the number of its file."""
        return self._table.file[self._rows]

    def numbers(self, column: str) -> np.ndarray:
        """A column of `FileIndex` for each clip."""
        return self._table.files.numbers(column)[self.files]

    def words(self, column: str) -> tuple[np.ndarray, list[str]]:
        """Codes [n] and what they stand for, of a column of words of `FileIndex`."""
        codes, values = self._table.files.words(column)
        return codes[self.files], values

    @property
    def groups(self) -> Groups | None:
        """Names of all that is held out together, by row of the index; None without."""
        return self._table.groups

    @property
    def has_text(self) -> Bool[np.ndarray, " n"]:
        """Whether the transcript of a clip is known."""
        is_whole = self._table.part[self._rows] < 0
        return is_whole & self._table.files.is_given("text")[self.files]

    def identities(self) -> Iterator[tuple[str, str, int]]:
        """Of each clip its id, the SHA-256 of its file and its samples at the config's rate."""
        files = self._table.files
        for first in range(0, len(self), _AT_ONCE):
            rows = self._rows[first : first + _AT_ONCE]
            file = pa.array(self._table.file[rows])
            paths = files.columns["path"].take(file).to_pylist()
            digests = files.columns["sha256"].take(file).to_pylist()
            parts, samples = self._table.part[rows].tolist(), self._table.num_samples[rows].tolist()
            for path, digest, part, count in zip(paths, digests, parts, samples, strict=True):
                yield _clip_id(path, part), digest.hex(), count

    def stretches(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of the file, first sample and end, at the file's own rate, int64 [n] each."""
        start = self._table.start[self._rows].astype(np.int64)
        return self.files.astype(np.int64), start, start + self._table.source_samples[self._rows]

    def where(self, chosen: Bool[np.ndarray, " n"]) -> "Clips":
        """Those that are chosen."""
        return Clips(self._table, self._rows[chosen])

    def by_length(self) -> "Clips":
        """The shortest first."""
        return Clips(self._table, self._rows[np.argsort(self.num_samples, kind="stable")])

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, number: SupportsIndex) -> ClipInfo: ...

    @overload
    def __getitem__(self, number: slice) -> "Clips": ...

    def __getitem__(self, number: SupportsIndex | slice) -> "ClipInfo | Clips":
        if isinstance(number, slice):
            return Clips(self._table, self._rows[number])
        return self._clip(int(self._rows[number]))

    def __iter__(self) -> Iterator[ClipInfo]:
        return map(self._clip, self._rows.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _clip(self, row: int) -> ClipInfo:
        table, files = self._table, self._table.files
        file, part = int(table.file[row]), int(table.part[row])
        path, rate = files.value("path", file), files.value("rate_hz", file)
        is_packed = files.packed is not None
        return ClipInfo(
            clip_id=_clip_id(path, part),
            path=path,
            start_seconds=int(table.start[row]) / rate,
            source_samples=int(table.source_samples[row]),
            num_samples=int(table.num_samples[row]),
            source_rate_hz=rate,
            channels=files.value("channels", file),
            codec=files.value("codec", file),
            sha256=files.value("sha256", file).hex(),
            split="heldout" if table.is_heldout[row] else "train",
            speaker=files.value("speaker", file),
            text=files.value("text", file) if part < 0 else "",
            accent=files.value("accent", file),
            language=files.value("language", file),
            gender=files.value("gender", file),
            group=table.groups.of(file) if table.groups else "",
            file_state=None
            if is_packed
            else (files.value("size", file), files.value("time", file)),
            packed=file if is_packed else None,
        )


def _clip_id(path: str, part: int) -> str:
    return path if part < 0 else f"{path}#{part:04d}"


def list_clips(
    files: FileIndex, unused: Iterable[int], config: AudioDataConfig
) -> tuple[Clips, float]:
    """The clips of all files but those of some rows, by path, and the place or percentage
    (`data.split`) below which they are held out."""
    usable = np.ones(len(files), bool)
    usable[list(unused)] = False
    rows = narrow(np.flatnonzero(usable), np.int32)
    share = 0.0
    if config.split_by == "time":
        seconds = files.numbers("samples")[rows] / files.numbers("rate_hz")[rows]
        share = share_in_time(config, seconds.tolist())
    below = 100 * share
    pieces = [
        _cut(files, rows[first : first + _AT_ONCE], share, config)
        for first in range(0, len(rows), _AT_ONCE)
    ] or [_cut(files, rows, share, config)]
    columns: dict[str, Any] = {
        name: np.concatenate([piece.pop(name) for piece in pieces]) for name in [*pieces[0]]
    }
    # What is not needed any more is freed as soon as no caller holds it.
    unneeded = ["samples"] if files.packed is not None else []
    table = ClipTable(files.without("more", "split", *unneeded), **columns)
    if config.split_by != "time":
        groups = groups_of(files, rows, config)
        places = places_of(files.digests, groups, config)[table.file]
        below = heldout_below(config, places, table.num_samples / config.sample_rate_hz)
        table = dataclasses.replace(table, is_heldout=places < below, groups=groups)
    return Clips(table), below


def _cut(
    files: FileIndex, rows: Int[np.ndarray, " n"], share: float, config: AudioDataConfig
) -> dict[str, np.ndarray]:
    """The clips of some files; by time, `share` of each is held out, and otherwise not yet known
    what is."""
    samples, rates = files.numbers("samples")[rows], files.numbers("rate_hz")[rows].astype(np.int64)
    owner, first, end = np.arange(len(rows)), np.zeros(len(rows), np.int64), samples
    is_heldout = first
    if config.split_by == "time":
        parts = [
            (i, first, end, split == "heldout")
            for i, (total, rate) in enumerate(zip(samples.tolist(), rates.tolist(), strict=True))
            for split, first, end in parts_in_time(total, rate, share)
            if end - first >= config.min_seconds * rate
        ]
        owner, first, end, is_heldout = np.array(parts, np.int64).reshape(-1, 4).T
    longest = (config.max_seconds * rates[owner]).astype(np.int64)
    windows = WindowsOfAll(end - first, longest)
    item, start, stop = windows.at(np.arange(len(windows)))
    start, stop, file = start + first[item], stop + first[item], owner[item]
    number = np.arange(len(file)) - np.searchsorted(file, file)  # within its file
    is_whole = (start == 0) & (stop == samples[file])
    num_samples = resampled_lengths(stop - start, rates[file], config.sample_rate_hz)
    return {
        "file": narrow(rows[file], np.int32),
        "part": narrow(np.where(is_whole, -1, number), np.int8),
        "start": narrow(start, np.int8),
        "source_samples": narrow(stop - start, np.int32),
        "num_samples": narrow(num_samples, np.int32),
        "is_heldout": is_heldout[item].astype(bool),
    }


def reasons(files: FileIndex, config: AudioDataConfig) -> dict[int, str]:
    """By row why a file is not used, of those that are not."""
    # What comes later counts for more.
    found: dict[int, str] = {}
    for first in range(0, len(files), _AT_ONCE):
        samples, rates, energy = (
            files.numbers(name)[first : first + _AT_ONCE]
            for name in ("samples", "rate_hz", "energy")
        )
        seconds = samples / np.maximum(rates, 1)
        for row in np.flatnonzero(energy <= samples * 10 ** (SILENCE_DBFS / 10)).tolist():
            words = f"silent: below {SILENCE_DBFS:g} dBFS over all its {seconds[row]:.1f} s"
            found[first + row] = words
        for row in np.flatnonzero(seconds < config.min_seconds).tolist():
            limit = f"--data.min-seconds = {config.min_seconds}"
            found[first + row] = f"too short: {seconds[row]:.3f} s, {limit}"
    for row in np.flatnonzero(files.is_given("reason")).tolist():
        found[row] = files.value("reason", row)
    if config.split_by == "official":
        for row in np.flatnonzero(~files.is_given("split")).tolist():
            part = "--data.split-by = official needs train, dev or test"
            found[row] = f"in no official part: {part}"
    if config.exclude:
        for row, path in enumerate(files.texts("path")):
            if pattern := is_excluded(path, config.exclude):
                found[row] = f"left out: --data.exclude has {pattern!r}"
    return found
