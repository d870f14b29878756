"""The index of a dataset of TFDS: every example decoded once, kept as the index of a folder is, and
its sound read at random places.

It holds for as long as the dataset has the same name, version and files. Splits that a config
leaves out as a whole are not read.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from jaxtyping import Float

from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.names import shown
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
from audiolm_jax.data.shards import ShardReader
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tfds.dataset import Dataset, read_dataset, split_is_left_out
from audiolm_jax.data.tfds.examples import described, fields_of, hear, read_sound
from audiolm_jax.data.tfds.names import is_dataset
from audiolm_jax.data.workers import ALONE, Worker
from audiolm_jax.errors import InputError

_REMEDY = "prepare the dataset again"
_EXAMPLE = ("example", pa.int64())  # its number in the dataset
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


class Examples:
    """The examples of a dataset by row of its index; safe to use from several threads."""

    def __init__(self, dataset: Dataset, files: FileIndex | None = None):
        """Without an index for `record` alone."""
        self.dataset, self._reader = dataset, ShardReader(_REMEDY)
        self._firsts = np.array([shard.first for shard in dataset.shards])
        if files is not None:
            self.files = dataclasses.replace(files, packed="")
            self._numbers = files.numbers(_EXAMPLE[0])

    def read(self, file: int, start: int, stop: int) -> Float[np.ndarray, " n"]:
        """Samples of a row from `start` to `stop` at its own rate, mono; InputError if they are not
        there."""
        fields, where = self.record(int(self._numbers[file]))
        with naming(where, "the example that was indexed", "run audiolm index again"):
            samples, total = read_sound(fields, self.dataset.sound, start, stop)
            if total != (known := self.files.value("samples", file)) or len(samples) < stop - start:
                raise ValueError(f"{total} samples, {known} were there")
        return samples

    def blocks(self, file: int, start: int) -> Iterator[Float[np.ndarray, " n"]]:
        """The samples of a row from `start` to its end, in one piece."""
        yield self.read(file, start, int(self.files.value("samples", file)))

    def record(self, number: int) -> tuple[dict[str, Any], str]:
        """The fields of an example, and where it lies; InputError if it is none."""
        shard = self.dataset.shards[int(np.searchsorted(self._firsts, number, side="right")) - 1]
        where = f"{shown(shard.path)}, record {number - shard.first}"
        data = self._reader.read(shard.path, number - shard.first, shard.count)
        with naming(where, "an example of this dataset", _REMEDY):
            return fields_of(data), where


_open: dict[tuple[str, str | None], Examples] = {}


def open_examples(config: AudioDataConfig) -> Examples:
    """The examples of `source` with their index, which is made or brought up to date."""
    dataset = read_dataset(config.source)
    examples = Examples(dataset, _open_files(dataset, config))
    _open[config.source, config.index] = examples
    return examples


def examples_at(config: AudioDataConfig) -> Examples | None:
    """Those opened before in this process, or now; None if `source` is no dataset of TFDS."""
    if (found := _open.get((config.source, config.index))) is not None:
        return found
    if not is_dataset(config.source) or (at(config.source) / PACK).is_file():
        return None
    return open_examples(config)


def index_dataset_share(config: AudioDataConfig, worker: Worker) -> int:
    """Decodes a worker's share of what the index lacks, and keeps what it found for whoever opens
    the index next; returns how many examples it is answerable for."""
    dataset, place = read_dataset(config.source), index_place(config)
    numbers, _ = _wanted(dataset, config.exclude)
    try:
        rows = _rows(dataset, numbers, worker, place)
    except OSError as error:
        if is_shortage(error):
            raise
        raise InputError(f"--data.index = {place}: cannot be written: {error}") from error
    return len(rows)


def _open_files(dataset: Dataset, config: AudioDataConfig) -> FileIndex:
    place = index_place(config)
    numbers, left_out = _wanted(dataset, config.exclude)
    old = read_table(place / FILES)
    about = json.loads(old.schema.metadata[b"about"]) if old is not None else {}
    if about.get("dataset") != dataset.mark:
        old = None
    if old is not None and set(about["undecoded"]) <= set(left_out):
        return opened_table(old)
    table = _rows(dataset, numbers, ALONE, place, old)
    table = _named_apart(table.sort_by([("path", "ascending"), ("example", "ascending")]))
    about = about_of((), (), (), left_out) | {"folders": {}, "lists": [], "dataset": dataset.mark}
    return kept(config, in_schema(table, about, pa.field(*_EXAMPLE)))


def _wanted(dataset: Dataset, exclude: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Numbers of examples to decode, and the splits that are left out, with a "/" at the end."""
    is_out = {split: split_is_left_out(split, exclude) for split in dataset.splits}
    numbers = [n for split, own in dataset.splits.items() if not is_out[split] for n in own]
    return numbers, [f"{split}/" for split in dataset.splits if is_out[split]]


def _rows(
    dataset: Dataset,
    numbers: Sequence[int],
    worker: Worker,
    place: Path,
    old: pa.Table | None = None,
) -> pa.Table:
    """What is known of a worker's share of some examples, as far as possible from its old index and
    from parts of this dataset; a worker that is not alone keeps all of it as parts."""
    blocks = [numbers[first : first + _BLOCK] for first in range(0, len(numbers), _BLOCK)]
    own = {number for block in worker.share(blocks) for number in block}
    schema = _ROWS.with_metadata(FACTS.metadata | {b"dataset": dataset.mark.encode()})
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
    made = _decoded(dataset, todo, place, schema, keeps_parts=worker != ALONE)
    return pa.concat_tables([known.take(pa.array(list(first_rows.values()), pa.int64())), *made])


def _decoded(
    dataset: Dataset, todo: Sequence[int], place: Path, schema: pa.Schema, keeps_parts: bool
) -> list[pa.Table]:
    examples, saver = Examples(dataset), Saver(place, len(todo), schema, "examples")
    splits = [(own, split) for split, own in dataset.splits.items()]

    def facts(number: int) -> dict[str, Any]:
        own, split = next(pair for pair in splits if number in pair[0])
        return _facts(examples, number, split, number - own.start)

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


def _facts(examples: Examples, number: int, split: str, within: int) -> dict[str, Any]:
    """A row of the index."""
    dataset = examples.dataset
    fields, _ = examples.record(number)
    row = described(fields, dataset, split, within)
    facts: dict[str, Any] = {"path": row.pop("path"), "example": number, "time": 0, "reason": ""}
    facts |= {"size": 0, "samples": 0, "rate_hz": 0, "channels": 0, "codec": "", "energy": 0.0}
    facts |= {"sha256": bytes(32), "notes": []}
    facts |= {name: row.pop(name, "") for name in (*KNOWN, "text")}
    facts["more"] = json.dumps(row) if row else ""
    try:
        heard = hear(fields, dataset.sound)
    except (ValueError, DecodeError) as error:
        return facts | {"reason": f"damaged sound: {error}"}
    return facts | {
        "size": fields[dataset.sound.field].ByteSize(),
        "samples": len(heard.samples),
        "rate_hz": heard.rate_hz,
        "channels": heard.channels,
        "codec": heard.codec,
        "sha256": heard.sha256,
        "energy": float(np.dot(heard.samples, heard.samples)),
    }


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
