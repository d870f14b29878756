"""Recordings that are no files of a folder but come by number: a dataset of TFDS, or a corpus from
outside. Every one is decoded once, kept as the index of a folder is, and read at random places.

The index holds for as long as the source has the same mark: name, version and files. Splits that a
config leaves out as a whole are not read.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.corpus import OutsideCorpus
from audiolm_jax.data.example import naming
from audiolm_jax.data.file_facts import FACTS, Saver, parts_of, read_table
from audiolm_jax.data.file_index import (
    FILES,
    KNOWN,
    FileIndex,
    about_of,
    in_schema,
    index_place,
    kept,
    opened_table,
)
from audiolm_jax.data.packs.manifest import PACK
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tfds.dataset import read_dataset, split_is_left_out
from audiolm_jax.data.tfds.names import is_dataset
from audiolm_jax.data.tfds.recordings import TfdsRecordings
from audiolm_jax.data.workers import ALONE, Worker
from audiolm_jax.errors import InputError

_EXAMPLE = ("example", pa.int64())  # its number in the source
_BLOCK = 64  # examples decoded between two looks at the clock; the unit of a worker's share
# As the index, but with words spelled out, so that tables can be joined.
_ROWS = pa.schema(
    [
        *FACTS,
        *((name, pa.string()) for name in KNOWN),
        *(("text", pa.large_string()), ("more", pa.string()), _EXAMPLE),
    ],
    FACTS.metadata,
)
_NOTHING = {
    "time": 0,
    "size": 0,
    "samples": 0,
    "rate_hz": 0,
    "channels": 0,
    "codec": "",
    "energy": 0.0,
    "sha256": bytes(32),
    "notes": [],
    "reason": "",
}


@runtime_checkable
class Source(Protocol):
    """Recordings by number."""

    mark: str  # changes with the name, the version and the files
    splits: dict[str, range]  # numbers of each

    def facts(self, number: int, split: str, within: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Of a recording, `within` its split: what is known of it by name, "path" too; and the
        columns of `FACTS` with something to say, of sound that cannot be used the "reason"."""

    def read(self, number: int, start: int, stop: int) -> tuple[Float[np.ndarray, " n"], int]:
        """Samples from `start` to `stop`, fewer where it ends, and how many there are in all."""

    def where(self, number: int) -> str:
        """What a message about a recording begins with."""

    def forget(self) -> None:
        """Keeps nothing of what was read until now."""


class Examples:
    """The recordings of a source by row of its index; safe to use from several threads."""

    def __init__(self, source: Source, files: FileIndex):
        """`files` is the index."""
        self.files, self._source = dataclasses.replace(files, packed=""), source
        self._numbers = files.numbers(_EXAMPLE[0])

    def read(self, file: int, start: int, stop: int) -> Float[np.ndarray, " n"]:
        """Samples of a row from `start` to `stop` at its own rate, mono; InputError if they are not
        there."""
        number = int(self._numbers[file])
        where = self._source.where(number)
        with naming(where, "the example that was indexed", "run audiolm index again"):
            samples, total = self._source.read(number, start, stop)
            if total != (known := self.files.value("samples", file)) or len(samples) < stop - start:
                raise ValueError(f"{total} samples, {known} were there")
        return samples

    def blocks(self, file: int, start: int) -> Iterator[Float[np.ndarray, " n"]]:
        """The samples of a row from `start` to its end, in one piece."""
        yield self.read(file, start, int(self.files.value("samples", file)))


def comes_by_number(source: str) -> bool:
    """Whether a source is one of these; a pack, which is a dataset of TFDS too, is by this rule."""
    return is_outside(source) or is_dataset(source)


def _source(config: AudioDataConfig) -> Source:
    if is_outside(config.source):
        return OutsideCorpus(config.source)
    return TfdsRecordings(read_dataset(config.source))


_open: dict[tuple[str, str | None], Examples] = {}


def open_examples(config: AudioDataConfig) -> Examples:
    """The recordings of `source` with their index, which is made or brought up to date."""
    source = _source(config)
    examples = Examples(source, _open_files(source, config))
    source.forget()
    _open[config.source, config.index] = examples
    return examples


def examples_at(config: AudioDataConfig) -> Examples | None:
    """Those opened before in this process, or now; None if `source` is another."""
    if (found := _open.get((config.source, config.index))) is not None:
        return found
    if not comes_by_number(config.source) or (at(config.source) / PACK).is_file():
        return None
    return open_examples(config)


def index_examples_share(config: AudioDataConfig, worker: Worker) -> int:
    """Decodes a worker's share of what the index lacks, and keeps what it found for whoever opens
    the index next; returns how many examples it is answerable for."""
    source, place = _source(config), index_place(config)
    numbers, _ = _wanted(source, config.exclude)
    try:
        rows = _rows(source, numbers, worker, place)
    except OSError as error:
        if is_shortage(error):
            raise
        raise InputError(f"--data.index = {place}: cannot be written: {error}") from error
    return len(rows)


def _open_files(source: Source, config: AudioDataConfig) -> FileIndex:
    place = index_place(config)
    numbers, left_out = _wanted(source, config.exclude)
    old = read_table(place / FILES)
    about = json.loads(old.schema.metadata[b"about"]) if old is not None else {}
    if about.get("dataset") != source.mark:
        old = None
    if old is not None and set(about["undecoded"]) <= set(left_out):
        return opened_table(old)
    table = _rows(source, numbers, ALONE, place, old)
    table = _named_apart(table.sort_by([("path", "ascending"), ("example", "ascending")]))
    about = about_of((), (), (), left_out) | {"folders": {}, "lists": [], "dataset": source.mark}
    return kept(config, in_schema(table, about, pa.field(*_EXAMPLE)))


def _wanted(source: Source, exclude: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Numbers of examples to decode, and the splits that are left out, with a "/" at the end."""
    is_out = {split: split_is_left_out(split, exclude) for split in source.splits}
    numbers = [n for split, own in source.splits.items() if not is_out[split] for n in own]
    return numbers, [f"{split}/" for split in source.splits if is_out[split]]


def _rows(
    source: Source,
    numbers: Sequence[int],
    worker: Worker,
    place: Path,
    old: pa.Table | None = None,
) -> pa.Table:
    """What is known of a worker's share of some examples, as far as possible from its old index and
    from parts of this dataset; a worker that is not alone keeps all of it as parts."""
    blocks = [numbers[first : first + _BLOCK] for first in range(0, len(numbers), _BLOCK)]
    own = {number for block in worker.share(blocks) for number in block}
    schema = _ROWS.with_metadata(FACTS.metadata | {b"dataset": source.mark.encode()})
    tables = [schema.empty_table()]
    for table in [t for path in parts_of(place) if (t := read_table(path)) is not None]:
        if table.schema.metadata.get(b"dataset") == schema.metadata[b"dataset"]:
            tables.append(table)
    if old is not None:
        tables.append(old.select(schema.names).cast(schema))
    known = pa.concat_tables(tables)
    first_rows: dict[int, int] = {}
    for row, number in enumerate(known[_EXAMPLE[0]].to_pylist()):
        if number in own:
            first_rows.setdefault(number, row)
    todo = sorted(own - first_rows.keys())
    made = _decoded(source, todo, place, schema, keeps_parts=worker != ALONE)
    return pa.concat_tables([known.take(pa.array(list(first_rows.values()), pa.int64())), *made])


def _decoded(
    source: Source, todo: Sequence[int], place: Path, schema: pa.Schema, keeps_parts: bool
) -> list[pa.Table]:
    saver = Saver(place, len(todo), schema, "examples")
    splits = [(own, split) for split, own in source.splits.items()]

    def facts(number: int) -> dict[str, Any]:
        own, split = next(pair for pair in splits if number in pair[0])
        return _facts(source, number, split, number - own.start)

    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        with saver:
            for first in range(0, len(todo), _BLOCK):
                saver.add(list(pool.map(facts, todo[first : first + _BLOCK])))
    finally:  # who is stopped waits for no example
        pool.shutdown(wait=False, cancel_futures=True)
    if keeps_parts:
        saver.save(is_needed=True)
    return saver.tables


def _facts(source: Source, number: int, split: str, within: int) -> dict[str, Any]:
    """A row of the index."""
    row, facts = source.facts(number, split, within)
    facts = _NOTHING | facts | {"path": row.pop("path"), "example": number}
    facts |= {name: row.pop(name, "") for name in (*KNOWN, "text")}
    return facts | {"more": json.dumps(row) if row else ""}


def _named_apart(table: pa.Table) -> pa.Table:
    """Sorted rows; of those with one name all but the first are bad."""
    paths, numbers = table["path"].to_pylist(), table[_EXAMPLE[0]].to_pylist()
    reasons, seen = table["reason"].to_pylist(), dict[str, int]()
    if len(set(paths)) == len(paths):
        return table
    for row, (path, number) in enumerate(zip(paths, numbers, strict=True)):
        if (first := seen.setdefault(path, number)) != number:
            paths[row] = f"{path} (example {number})"
            reasons[row] = f"the same id as another example, {first}"
    for name, values in (("path", paths), ("reason", reasons)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, pa.string()))
    return table.sort_by("path")
