"""Reading a pack: any samples of any of its files, to the bit those of the file itself.

The list of files is that of the folder that was packed, so clips, splits and fingerprints are
worked out from it as from a folder. What a clip needs is read from the records that hold it.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.names import shown
from audiolm_jax.data.clips import Clips
from audiolm_jax.data.example import features_of, naming, only
from audiolm_jax.data.file_facts import is_excluded, read_table
from audiolm_jax.data.file_index import FileIndex, in_one_piece, narrow, opened_table
from audiolm_jax.data.packs.manifest import (
    FILES,
    PACK,
    RECORDS,
    REMEDY,
    UNFINISHED,
    read_manifest,
)
from audiolm_jax.data.packs.sound import decode_sound
from audiolm_jax.data.shards import ShardReader, check_shards
from audiolm_jax.data.sources import SPLITS, AudioDataConfig
from audiolm_jax.errors import InputError

_READ_FIELDS = {"audio", "crc32", "encoding", "sha256", "start", "samples"}
_NEEDED = {"path", "samples", "sha256"}  # columns of the files
_PLACE = {"file", "start", "samples", "shard", "position"}  # columns of the records
_AT_ONCE = 1 << 16  # clips whose places are in memory together


class Pack:
    """An open pack; safe to use from several threads."""

    def __init__(self, directory: Path, hashes: bool):
        """InputError unless the tables are whole and all shards there, of their size and, with
        `hashes`, of their SHA-256."""
        self.directory, self.manifest = directory, read_manifest(directory)
        self._shards: list[dict[str, Any]] = [
            shard
            for split in SPLITS
            for shard in self.manifest["splits"].get(split, {"shards": []})["shards"]
        ]
        check_shards(directory, self._shards, hashes, PACK, REMEDY)
        records = in_one_piece(self._table(RECORDS))
        numbers = {name: values.to_numpy() for name, values in records.items() if name in _PLACE}
        self._file, start = numbers["file"], numbers["start"]
        self._end = narrow(start + numbers["samples"], np.int32)
        self._start, self._shard, self._position = (
            narrow(x, np.int8) for x in (start, numbers["shard"], numbers["position"])
        )
        del records, numbers, start
        self.files = FileIndex(
            **vars(opened_table(self._table(FILES)))
            | {"stamp": self.manifest["fingerprint"], "packed": self.manifest["conversion"]}
        )
        self._reader = ShardReader(REMEDY)

    def hand_over_files(self) -> FileIndex:
        """All that is known of the files, of which the pack keeps what reading takes."""
        files = self.files
        self.files = files.without(*(set(files.columns) - _NEEDED))
        return files

    def read(self, file: int, start: int, stop: int) -> Float[np.ndarray, " n"]:
        """Samples of a file from `start` to `stop` at the rate of `files`, mono; InputError if they
        are not in the pack, or damaged."""
        pieces, at = list[np.ndarray](), start
        for number in self._records(file, start, stop):
            first, end = int(self._start[number]), min(stop, int(self._end[number]))
            pieces.append(self._decoded(number, at - first, end - first))
            at = end
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def blocks(self, file: int, start: int) -> Iterator[Float[np.ndarray, " n"]]:
        """The samples of a file from `start` to its end, record by record."""
        total, at = int(self.files.value("samples", file)), start
        while at < total:
            (number,) = self._records(file, at, at + 1)
            first, end = int(self._start[number]), int(self._end[number])
            yield self._decoded(number, at - first, end - first)
            at = end

    def _records(self, file: int, start: int, stop: int) -> Iterator[int]:
        """Numbers of the records that hold some samples, in order."""
        # In the type of the column, which would be converted otherwise.
        low, high = np.searchsorted(self._file, np.array([file, file + 1], self._file.dtype))
        number = int(low + np.searchsorted(self._start[low:high], start, side="right")) - 1
        at = start
        while at < stop:
            if not low <= number < high or not self._start[number] <= at < self._end[number]:
                raise InputError(
                    f"{self.directory}: does not hold samples {at} to {stop} of "
                    f"{self.files.value('path', file)}; {REMEDY}"
                )
            yield number
            at, number = int(self._end[number]), number + 1

    def _decoded(self, number: int, start: int, stop: int) -> Float[np.ndarray, " n"]:
        """Samples of a record."""
        shard = self._shards[self._shard[number]]
        path, position = f"{self.directory}/{shard['name']}", int(self._position[number])
        data = self._reader.read(path, position, shard["records"])
        digest = self.files.value("sha256", int(self._file[number])).hex().encode()
        begin, samples = int(self._start[number]), int(self._end[number] - self._start[number])
        with naming(f"{path}, record {position}", "a record of this pack", REMEDY):
            fields = {key: value for key, value in features_of(data) if key in _READ_FIELDS}
            file = only(fields, "audio", "bytes_list")
            if zlib.crc32(file) != only(fields, "crc32", "int64_list"):
                raise ValueError("its sound fails its checksum")
            found = (
                only(fields, "sha256", "bytes_list"),
                *(only(fields, name, "int64_list") for name in ("start", "samples")),
            )
            if found != (digest, begin, samples):
                raise ValueError("it holds another stretch of sound")
            encoding = only(fields, "encoding", "bytes_list").decode()
            sound = decode_sound(encoding, file, start, stop)
            if len(sound) != stop - start:
                raise ValueError(f"{len(sound)} samples for {stop - start}")
        return sound

    def covers(self, clips: Clips) -> np.ndarray:
        """Whether all samples of a clip are in the pack, bool [clips]."""
        covered, length = np.zeros(len(clips), bool), int(self._end.max()) + 1
        for row in range(0, len(clips), _AT_ONCE):
            own = slice(row, row + _AT_ONCE)
            covered[own] = self._covers(*clips[own].stretches(), length)
        return covered

    def _covers(self, file: np.ndarray, start: np.ndarray, stop: np.ndarray, length: int) -> Any:
        """`covers` of some clips; no record ends at `length` or later."""
        edges = np.array([file.min(), file.max() + 1], self._file.dtype)
        near = slice(*np.searchsorted(self._file, edges))
        if near.start == near.stop:
            return np.zeros(len(file), bool)
        # A place on one line of all files; a gap is where a record does not begin at the last end.
        line = self._file[near].astype(np.int64) * length
        begins, ends = line + self._start[near], line + self._end[near]
        gaps = np.cumsum(np.concatenate([[False], begins[1:] != ends[:-1]]))
        place = file * length
        first, last = place + start, place + np.minimum(stop, length - 1)
        one = np.searchsorted(begins, first, side="right") - 1
        other = np.searchsorted(begins, last - 1, side="right") - 1
        is_inside = (one >= 0) & (first < ends[one]) & (last <= ends[other])
        return is_inside & (stop < length) & (gaps[one] == gaps[other])

    def _table(self, name: str) -> pa.Table:
        path, known = self.directory / name, self.manifest["tables"][name]
        if not path.is_file() or path.stat().st_size != known["bytes"]:
            raise InputError(f"{path}: missing or of another size than {PACK} says; {REMEDY}")
        if file_sha256(path) != known["sha256"] or (table := read_table(path)) is None:
            raise InputError(f"{path}: content differs from {PACK}; {REMEDY}")
        return table


_open: dict[str, Pack] = {}


def find_pack(source: str, hashes: bool) -> Pack | None:
    """The pack at a path, opened anew, `hashes` proves its shards; None if there is something
    else."""
    place = at(source)
    if (place / PACK).is_file():
        _open[source] = Pack(place, hashes)
        return _open[source]
    if (place / UNFINISHED).is_file():
        raise InputError(
            f"--data.source = {shown(source)}: a pack that is not finished; run audiolm pack again"
        )
    return None


def known_pack(source: str) -> Pack | None:
    """The pack at a path that was opened before in this process; no file is looked at."""
    return _open.get(source)


def pack_at(source: str) -> Pack:
    """The pack at a path, opened before in this process, or now."""
    if (pack := known_pack(source) or find_pack(source, hashes=False)) is None:
        raise InputError(f"{shown(source)}: the pack is there no more; {REMEDY}")
    return pack


def check_covers(pack: Pack, clips: Clips, config: AudioDataConfig) -> None:
    """InputError unless a pack holds all that a config asks for, as the packed folder would."""
    rules, conversion = pack.manifest["rules"], pack.manifest["conversion"]
    if conversion and (rate := int(conversion.split()[0])) != config.sample_rate_hz:
        raise InputError(
            f"--data.sample-rate-hz = {config.sample_rate_hz}: {shown(pack.directory)} was "
            f"converted to {rate} Hz; pack the recordings at their own rates"
        )
    asked = [p for p in pack.files.undecoded if not is_excluded(p, config.exclude)]
    if not asked and clips and not (covered := pack.covers(clips)).all():
        asked = [clips[int(np.argmin(covered))].clip_id]
    if asked:
        made = ", ".join(f"{name} {value}" for name, value in rules.items())
        raise InputError(
            f"--data.source = {shown(pack.directory)}: does not hold {asked[0]}, which this config "
            f"uses; it was packed with {made}: take these rules or {REMEDY}"
        )
