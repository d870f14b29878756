"""Recordings into a pack, shard by shard.

What a shard holds depends on the recordings and the rules alone: whatever ends a run, the next one
writes the shards that are missing, and any number of workers write the same bytes.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import logging
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from audiolm_jax.artifacts.atomic import atomic_path, write_json
from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.storage import at
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.audio.blocks import stretches
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.resample import resample_blocks, resampled_lengths
from audiolm_jax.data.clips import ClipInfo, Clips
from audiolm_jax.data.example import encode_example
from audiolm_jax.data.file_facts import write_table
from audiolm_jax.data.file_index import FileIndex, table_of
from audiolm_jax.data.index import (
    ClipIndex,
    changed_file,
    file_blocks,
    files_of,
    index_of,
    usable,
)
from audiolm_jax.data.packs.config import PackConfig, rules
from audiolm_jax.data.packs.manifest import (
    FILES,
    FORMAT_VERSION,
    PACK,
    RECORD_COLUMNS,
    RECORDS,
    UNFINISHED,
    read_manifest,
    write_manifest,
)
from audiolm_jax.data.packs.sound import ENCODINGS, encode_sound, quantised
from audiolm_jax.data.packs.tfds_files import TEXTS, shard_name, write_tfds_files
from audiolm_jax.data.shards import (
    read_summaries,
    remove_unfinished,
    shard_counts,
    write_records,
    write_summary,
)
from audiolm_jax.data.sources import SPLITS, AudioDataConfig, Split
from audiolm_jax.data.workers import ALONE, Worker
from audiolm_jax.errors import InputError

_LARGEST_RECORD = 1 << 30  # bytes of sound; a protobuf message holds 2 GiB

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One file: some clips of a split, one after the other."""

    name: str
    split: Split
    clips: Clips
    label: str  # "3 of 9", for the progress line


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Which clip goes where."""

    source: AudioDataConfig
    own_rates: Int[np.ndarray, " files"]  # of the files as they are
    index: ClipIndex  # of the files as they are packed
    table: pa.Table  # of the same
    shards: list[_Shard]
    config: PackConfig
    conversion: str
    fingerprint: str


def pack(
    source: AudioDataConfig, config: PackConfig, directory: Path, worker: Worker = ALONE
) -> bool:
    """Writes a worker's share of the shards of a pack, or what is left of it, and, if then all are
    there, what makes them a pack; whether it did. `sample_rate_hz` of `source`
    counts for nothing. InputError if another process does the same, or the folder holds something
    else."""
    own = directory / f"worker-{worker.number}-of-{worker.count}" if worker != ALONE else directory
    with only_writer(own, is_replaced=worker != ALONE):
        plan = _planned(source, config)
        if not _begin(directory, plan):
            return True
        _write_shards(directory, plan, list(worker.share(plan.shards)))
        found = _summaries(directory, plan, plan.shards)
        if missing := sum(summary is None for summary in found):
            logger.info(f"pack: {missing} of {len(found)} shards are left to other workers")
            return False
        _join(directory, plan, [summary for summary in found if summary is not None])
    return True


def _planned(source: AudioDataConfig, config: PackConfig) -> _Plan:
    rate = config.sample_rate_hz
    files = files_of(source)
    conversion = config.conversion(source)
    if rate is not None and files.packed:
        raise InputError(f"--sample-rate-hz = {rate}: {shown(source.source)} was converted before")
    own_rates = files.numbers("rate_hz")
    files = files if rate is None else _at_rate(files, rate)
    index, table = usable(index_of(files, source)), table_of(files, "pack")
    _, start, stop = index.clips.stretches()
    if 4 * (largest := int((stop - start).max())) > _LARGEST_RECORD:
        raise InputError(
            f"--max-seconds = {source.max_seconds}: makes a record of {largest} samples, at most "
            f"{_LARGEST_RECORD // 4} fit; take a smaller one"
        )
    of_split = {s: index.clips.where(index.clips.is_heldout == (s == "heldout")) for s in SPLITS}
    counts = shard_counts({s: len(of_split[s]) for s in SPLITS}, config.shards, "train")
    shards: list[_Shard] = []
    for split, count in counts.items():
        edges = _edges(of_split[split].num_samples, count)
        for number, (first, end) in enumerate(itertools.pairwise(edges)):
            name = shard_name(source.dataset, split, number, count)
            label = f"{len(shards) + 1} of {sum(counts.values())}"
            shards.append(_Shard(name, split, of_split[split][first:end], label))
    conversion = files.packed or conversion
    mark = fingerprint([FORMAT_VERSION, rules(source), config.shards, conversion, _sha256(table)])
    return _Plan(source, own_rates, index, table, shards, config, conversion, mark)


def _at_rate(files: FileIndex, rate_hz: int) -> FileIndex:
    """The recordings as if each had been converted."""
    samples, rates = files.numbers("samples"), files.numbers("rate_hz")
    lengths = resampled_lengths(samples, np.maximum(rates, 1).astype(np.int64), rate_hz)
    energy = files.numbers("energy") * (lengths / np.maximum(samples, 1))
    changed = {
        "samples": pa.array(lengths, pa.int64()),
        "rate_hz": pa.array(np.where(rates > 0, rate_hz, rates), pa.int32()),
        "energy": pa.array(energy, pa.float64()),
    }
    return dataclasses.replace(files, columns=files.columns | changed)


def _edges(samples: Int[np.ndarray, " n"], count: int) -> list[int]:
    """Where each of `count` runs of clips begins, and the end: alike in length, none empty."""
    ends, wanted = np.cumsum(samples), np.arange(count + 1)
    edges = np.searchsorted(ends, wanted * (int(ends[-1]) / count))
    edges = np.maximum.accumulate(edges - wanted) + wanted  # each after the one before
    edges = np.minimum(edges, len(samples) - count + wanted)
    edges[0], edges[-1] = 0, len(samples)
    return edges.tolist()


def _sha256(table: pa.Table) -> str:
    """Of a table as Arrow writes it without compression."""
    digest = hashlib.sha256()

    class Sink(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            digest.update(data)
            return len(data)

    with pa.PythonFile(Sink(), "w") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return digest.hexdigest()


def _begin(directory: Path, plan: _Plan) -> bool:
    """Whether something is left to do; InputError if a folder holds anything but this pack."""
    if directory.resolve().is_relative_to(at(plan.source.source).resolve()):
        raise InputError(
            f"--out {shown(directory)}: lies in the folder that is packed; choose another"
        )
    if (directory / PACK).exists():
        if (found := read_manifest(directory)["fingerprint"]) == plan.fingerprint:
            logger.info(f"pack: {shown(directory)} is complete, nothing to do")
            return False
        what = f"a pack of fingerprint {found}"
    else:
        try:
            found = json.loads((directory / UNFINISHED).read_text())["fingerprint"]
        except FileNotFoundError:
            write_json(directory / UNFINISHED, {"fingerprint": plan.fingerprint})
            return True
        except (ValueError, KeyError, TypeError):
            found = "unknown"
        if found == plan.fingerprint:
            return True
        what = f"shards of another pack, {found}"
    raise InputError(
        f"--out {shown(directory)}: holds {what}, these recordings and rules make "
        f"{plan.fingerprint}; delete the folder or choose another"
    )


def _summaries(directory: Path, plan: _Plan, shards: list[_Shard]) -> list[dict[str, Any] | None]:
    """Of the shards that are there."""
    return list(read_summaries([directory / shard.name for shard in shards], plan.fingerprint))


def _write_shards(directory: Path, plan: _Plan, shards: list[_Shard]) -> None:
    """Those that are not there yet; tells how it gets on."""
    there = _summaries(directory, plan, shards)
    missing = [shard for shard, summary in zip(shards, there, strict=True) if summary is None]
    if len(missing) < len(shards):
        logger.info(f"pack: {len(shards) - len(missing)} shards are there already")
    seconds = [float(shard.clips.source_seconds.sum()) for shard in missing]
    begun, total, done = time.monotonic(), sum(seconds), 0.0
    for shard, length in zip(missing, seconds, strict=True):
        path = directory / shard.name
        with only_writer(path, is_replaced=True):
            writer = _Writer(plan, shard)
            own = write_records(path, writer.records(), ",uncompressed")
            summary = write_summary(path, writer.facts() | own)
        done += length
        speed = done / (time.monotonic() - begun)
        logger.info(
            f"pack: shard {shard.label}: {summary['records']} clips, {length / 3600:.2f} h, "
            f"{summary['bytes'] / 1e6:,.0f} MB, {speed:,.0f} x real time, "
            f"{(total - done) / speed / 60:.0f} min left"
        )


class _Writer:
    """The records of a shard, and what there is to say about them."""

    def __init__(self, plan: _Plan, shard: _Shard):
        self._plan, self._shard = plan, shard
        self._encodings, self._sizes, self._clipped = list[str](), list[int](), 0

    def facts(self) -> dict[str, Any]:
        """For the file beside the shard, once all records are written."""
        return {
            "fingerprint": self._plan.fingerprint,
            "records": len(self._sizes),
            "encodings": self._encodings,
            "sizes": self._sizes,
            "clipped": self._clipped,
        }

    def records(self) -> Iterator[bytes]:
        """Serialized, in order."""
        clips, (files, starts, stops) = self._shard.clips, self._shard.clips.stretches()
        for file, group in itertools.groupby(range(len(clips)), files.tolist().__getitem__):
            numbers = list(group)
            spans = [(int(starts[n]), int(stops[n])) for n in numbers]
            clip, own_rate = clips[numbers[0]], int(self._plan.own_rates[file])
            sounds = self._sounds(clip, own_rate, spans)
            for number, (start, _), sound in zip(numbers, spans, sounds, strict=False):
                if len(sound) != spans[number - numbers[0]][1] - start:
                    raise changed_file(self._plan.source, clip)
                if self._plan.config.sample_rate_hz is not None:
                    sound, clipped = quantised(sound, self._plan.config.bits)
                    self._clipped += clipped
                yield self._encoded(clips[number], own_rate, start, sound)

    def _sounds(
        self, clip: ClipInfo, own_rate: int, spans: list[tuple[int, int]]
    ) -> Iterator[Float[np.ndarray, " s"]]:
        """Stretches of a file as it is packed."""
        source, first = self._plan.source, spans[0][0]
        if self._plan.config.sample_rate_hz is None:
            own = (block for block, _ in file_blocks(source, clip, own_rate, first))
            return stretches(own, [(start - first, stop - first) for start, stop in spans])
        blocks = file_blocks(source, clip, own_rate, 0)
        converted = resample_blocks(blocks, clip.source_rate_hz, source.resampler)
        return stretches(converted, spans)

    def _encoded(
        self, clip: ClipInfo, own_rate: int, start: int, sound: Float[np.ndarray, " s"]
    ) -> bytes:
        encoding, file = encode_sound(sound, clip.source_rate_hz)
        self._encodings.append(encoding)
        self._sizes.append(len(file))
        texts = {name: getattr(clip, name) for name in TEXTS} | {
            "id": clip.clip_id, "dataset": self._plan.source.dataset, "encoding": encoding,
        }  # fmt: skip
        numbers = {
            "channels": clip.channels,
            "crc32": zlib.crc32(file),
            "rate_hz": clip.source_rate_hz,
            "samples": len(sound),
            "source_rate_hz": own_rate,
            "start": start,
        }
        encoded = {name: text.encode() for name, text in texts.items()}
        return encode_example({"audio": file, **encoded, **numbers})


def _join(directory: Path, plan: _Plan, summaries: list[dict[str, Any]]) -> None:
    """Writes all that makes a pack of the shards."""
    places = [shard.clips.stretches() for shard in plan.shards]
    counts = [len(shard.clips) for shard in plan.shards]
    if counts != [len(summary["sizes"]) for summary in summaries]:
        raise InputError(f"--out {shown(directory)}: holds shards of other clips; delete it")
    file, start, stop = (np.concatenate(parts) for parts in zip(*places, strict=True))
    names = ENCODINGS
    codes = np.array([names.index(e) for s in summaries for e in s["encodings"]], np.int8)
    columns = {
        "file": file,
        "start": start,
        "samples": stop - start,
        "shard": np.repeat(np.arange(len(counts)), counts),
        "position": np.concatenate([np.arange(count) for count in counts]),
        "bytes": np.concatenate([np.array(s["sizes"], np.int64) for s in summaries]),
    }
    order = np.lexsort((start, file))
    arrays: dict[str, pa.Array] = {
        name: pa.array(values[order], RECORD_COLUMNS.field(name).type)
        for name, values in columns.items()
    }
    arrays["encoding"] = pa.DictionaryArray.from_arrays(codes[order], list(names))
    records = pa.table([arrays[n] for n in RECORD_COLUMNS.names], schema=RECORD_COLUMNS)
    for name, table in ((FILES, plan.table), (RECORDS, records)):
        with atomic_path(directory / name) as scratch:
            write_table(scratch, table)
    splits = {
        split: {
            "clips": sum(counts[i] for i, shard in enumerate(plan.shards) if shard.split == split),
            "seconds": plan.index.seconds(split),
            "shards": [
                {key: summary[key] for key in ("name", "records", "bytes", "sha256")}
                for shard, summary in zip(plan.shards, summaries, strict=True)
                if shard.split == split
            ],
        }
        for split in dict.fromkeys(shard.split for shard in plan.shards)
    }
    write_tfds_files(directory, plan.source.dataset, splits)
    used = np.bincount(codes, minlength=len(names)).tolist()
    facts = {
        "fingerprint": plan.fingerprint,
        "rules": rules(plan.source),
        "conversion": plan.conversion,
        "splits": splits,
        "encodings": {name: n for name, n in zip(names, used, strict=True) if n},
        "clipped_samples": sum(summary["clipped"] for summary in summaries),
    }
    if clipped := facts["clipped_samples"]:
        logger.warning(f"pack: {clipped} samples beyond full scale after conversion were clipped")
    remove_unfinished(*(directory / shard.name for shard in plan.shards))
    write_manifest(directory, facts)
    (directory / UNFINISHED).unlink(missing_ok=True)
