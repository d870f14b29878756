"""The token store: shards of token records (`data.shards`), and a manifest over all.

A store counts as written once MANIFEST.json exists; it appears by an atomic rename, after all
shards.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.artifacts.storage import at, each, is_remote
from audiolm_jax.data.index import file_of
from audiolm_jax.data.shards import (
    ShardReader,
    check_shards,
    read_summaries,
    summary_path,
    write_records,
    write_summary,
)
from audiolm_jax.data.sources import SPLITS, Split
from audiolm_jax.data.tokens.provenance import FORMAT_VERSION, TokenProvenance, TokenSizes
from audiolm_jax.data.tokens.record import (
    TokenRecord,
    decode_record,
    decode_tokens,
    encode_record,
)
from audiolm_jax.data.walk import BadFile
from audiolm_jax.data.windows import even_windows
from audiolm_jax.errors import InputError
from audiolm_jax.stages import Sequence, StageConfig, build_sequence, deduplicate

MANIFEST = "MANIFEST.json"
# Stores up to this size are hashed in full when opened; larger ones by `verify` alone.
HASH_ON_OPEN_BYTES = 4 << 30
_REMEDY = "tokenize again"


def shard_name(split: Split, index: int, count: int) -> str:
    """File name of shard `index` of `count`."""
    return f"{split}-{index:05d}-of-{count:05d}.array_record"


def write_shard(
    path: Path, records: Iterable[TokenRecord], provenance: TokenProvenance
) -> dict[str, Any]:
    """Writes one shard and the JSON beside it, which it returns; same records, same bytes."""
    sizes = provenance.sizes
    clusters = np.zeros(sizes.semantic_clusters, np.int64)
    codes = np.zeros((sizes.levels, sizes.codebook_size), np.int64)
    lengths: list[int] = []
    ids: list[str] = []

    def encoded() -> Iterator[bytes]:
        for record in records:
            check_record(record, sizes, str(path))
            yield encode_record(record)
            kept = deduplicate(record.clusters.astype(np.int32))
            clusters[:] += np.bincount(kept, minlength=len(clusters))
            for level, row in enumerate(codes):
                row += np.bincount(record.codes[:, level], minlength=len(row))
            lengths.append(len(record.clusters))
            ids.append(record.clip_id)

    own = write_records(path, encoded())
    summary = {
        "fingerprint": provenance.fingerprint,
        "records": len(lengths),
        "frames": sum(lengths) * sizes.frames_per_semantic,
        "semantic_lengths": lengths,
        "clip_ids": ids,
        "semantic_deduplicated": int(clusters.sum()),
        "semantic_counts": clusters.tolist(),
        "acoustic_counts": codes.tolist(),
    }
    return write_summary(path, summary | own)


def write_manifest(
    directory: Path, provenance: TokenProvenance, shards: dict[Split, int], bad: Iterable[BadFile]
) -> None:
    """Writes MANIFEST.json over finished shards; `shards` is their number in each split."""
    splits = {}
    for split, count in shards.items():
        paths = [directory / shard_name(split, index, count) for index in range(count)]
        summaries = []
        for path, summary in zip(paths, read_summaries(paths, provenance.fingerprint), strict=True):
            if summary is None:
                raise RuntimeError(f"{path}: was not written")
            summaries.append(summary)
        kept = ("name", "records", "frames", "bytes", "sha256")
        splits[split] = {
            "statistics": _statistics(summaries, provenance.sizes),
            "shards": [{key: summary[key] for key in kept} for summary in summaries],
        }
    manifest = {
        "fingerprint": provenance.fingerprint,
        "provenance": config_to_dict(provenance),
        "splits": splits,
        "bad": [dataclasses.asdict(file) for file in bad],
    }
    write_json(directory / MANIFEST, manifest, sort_keys=True)


def check_record(record: TokenRecord, sizes: TokenSizes, where: str) -> None:
    """InputError if a record has not the levels, rates and ids of its store."""
    frames, levels = record.codes.shape
    per_token = sizes.frames_per_semantic
    if levels != sizes.levels or frames != per_token * len(record.clusters):
        raise InputError(
            f"{where}: record {record.clip_id!r} has {frames} frames of {levels} levels, expected "
            f"{per_token * len(record.clusters)} of {sizes.levels}; tokenize again"
        )
    code, cluster = record.codes.max(), record.clusters.max()
    if code >= sizes.codebook_size or cluster >= sizes.semantic_clusters:
        raise InputError(
            f"{where}: record {record.clip_id!r} holds code {code} and cluster {cluster}, expected "
            f"below {sizes.codebook_size} and {sizes.semantic_clusters}; tokenize again"
        )


def check_store(store: "TokenStore", stage: StageConfig) -> None:
    """InputError if a stage has other sizes than the tokens it is to learn."""
    for field in dataclasses.fields(TokenSizes):
        wanted, written = getattr(stage, field.name), getattr(store.sizes, field.name)
        if wanted != written:
            raise InputError(
                f"--model.stage.{field.name.replace('_', '-')} {wanted}, but the tokens in "
                f"{store.directory} were written with {written}; change the stage or tokenize with "
                "other models"
            )


class TokenStore:
    """A finished store, read by split and number; `manifest` is the parsed MANIFEST.json."""

    def __init__(self, directory: Path, provenance: TokenProvenance, manifest: dict[str, Any]):
        """Use `open`."""
        self.directory, self.provenance, self.manifest = directory, provenance, manifest
        self._lengths: dict[Split, np.ndarray] = {}
        self._edges: dict[Split, tuple[np.ndarray, np.ndarray]] = {}
        self._reader = ShardReader(_REMEDY)
        self._shards = {split: part["shards"] for split, part in manifest["splits"].items()}
        self._ends = {
            split: np.cumsum([shard["records"] for shard in shards], dtype=np.int64)
            for split, shards in self._shards.items()
        }

    @classmethod
    def open(cls, directory: Path | str, verify: bool = True) -> "TokenStore":
        """Opens a finished store and, if wanted, proves its shards whole; InputError if it is not.
        SHA-256 sums are compared for stores up to `HASH_ON_OPEN_BYTES` only, in a bucket never."""
        directory = at(directory)
        path = directory / MANIFEST
        if not path.exists():
            state = "is unfinished" if any(directory.glob("*.array_record*")) else "does not exist"
            raise InputError(f"{directory}: token store {state}; run audiolm tokenize")
        try:
            manifest = json.loads(path.read_text())
            provenance = config_from_dict(TokenProvenance, manifest["provenance"], str(path))
            store = cls(directory, provenance, manifest)
            total = sum(shard["bytes"] for shard in store._all_shards())
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: damaged: {error!r}; delete it, tokenize again") from error
        if provenance.format_version != FORMAT_VERSION:
            raise InputError(f"{path}: format_version {provenance.format_version}; tokenize again")
        if provenance.fingerprint != manifest.get("fingerprint"):
            raise InputError(f"{path}: fingerprint does not match its provenance; tokenize again")
        if verify:
            store.verify(hashes=total <= HASH_ON_OPEN_BYTES and not is_remote(directory))
        return store

    @property
    def sizes(self) -> TokenSizes:
        """What the tokenizers wrote; known without a shard."""
        return self.provenance.sizes

    @property
    def fingerprint(self) -> str:
        """Of everything that decided the tokens."""
        return self.provenance.fingerprint

    def verify(self, hashes: bool) -> None:
        """InputError unless all shards have the manifest's sizes and, if wanted, SHA-256 sums."""
        check_shards(self.directory, self._all_shards(), hashes, MANIFEST, _REMEDY)

    def num_records(self, split: Split) -> int:
        """Clips in a split."""
        ends = self._ends.get(split)
        return int(ends[-1]) if ends is not None and len(ends) else 0

    def semantic_lengths(self, split: Split) -> Int[np.ndarray, " n"]:
        """Semantic tokens of each record, before de-duplication, from the shards' JSON files."""
        if split not in self._lengths:
            parts = [summary["semantic_lengths"] for summary in self._summaries(split)]
            self._lengths[split] = np.array([n for part in parts for n in part], np.int64)
        return self._lengths[split]

    def clip_ids(self, split: Split) -> list[str]:
        """Of each record, from the shards' JSON files; shards of before have them inside alone."""
        ids: list[str] = []
        for summary in self._summaries(split):
            numbers = range(len(ids), len(ids) + summary["records"])
            ids += summary.get("clip_ids") or [self.record(split, n).clip_id for n in numbers]
        return ids

    def file_edges(self, split: Split) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Numbers of the first and the last record of the file that each record is a part of; -1 if
        that lies in another split, as files split by time have it."""
        if split not in self._edges:
            files: dict[str, int] = {}
            clips = [file_of(clip_id) for clip_id in self.clip_ids(split)]
            ids = (name for other in SPLITS if other != split for name in self.clip_ids(other))
            others = [file_of(name) for name in ids if "#" in name]
            file = np.array([files.setdefault(path, len(files)) for path, _ in clips], np.int64)
            order = np.lexsort((np.array([part for _, part in clips], np.int64), file))
            firsts = order[np.diff(file[order], prepend=-1) > 0]
            lasts = order[np.diff(file[order], append=len(files)) > 0]
            begins, ends = firsts.copy(), lasts.copy()
            for path, part in others:
                if (number := files.get(path)) is not None:
                    if part < clips[firsts[number]][1]:
                        begins[number] = -1
                    if part > clips[lasts[number]][1]:
                        ends[number] = -1
            self._edges[split] = begins[file], ends[file]
        return self._edges[split]

    def _summaries(self, split: Split) -> Iterator[dict[str, Any]]:
        shards = self._shards.get(split, [])
        paths = [self.directory / shard["name"] for shard in shards]
        found = read_summaries(paths, self.fingerprint)
        for shard, path, summary in zip(shards, paths, found, strict=True):
            summary = summary or {}
            lengths = summary.get("semantic_lengths", [])
            ids, frames = summary.get("clip_ids", lengths), sum(lengths)
            sizes = len(lengths), len(ids), frames * self.sizes.frames_per_semantic
            if sizes != (shard["records"], shard["records"], shard["frames"]):
                raise InputError(f"{summary_path(path)}: missing or damaged; tokenize again")
            yield summary

    def record(self, split: Split, index: int) -> TokenRecord:
        """Clip number `index` of a split; InputError if its shard is damaged."""
        data, path = self._data(split, index)
        record = decode_record(data, path)
        check_record(record, self.sizes, path)
        return record

    def fetched(
        self, split: Split, indices: Int[np.ndarray, " n"]
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """In a bucket the `tokens` of these numbers, asked for together; else nothing."""
        if not is_remote(self.directory):
            return {}
        shards: dict[int, list[int]] = {}
        for index in np.unique(indices).tolist():
            shards.setdefault(self._shard_of(split, index), []).append(index)
        read = lambda shard: self._read(split, shard, shards[shard])  # noqa: E731
        return {
            index: decode_tokens(data, self._path(split, shard))
            for shard, found in zip(shards, each(read, list(shards)), strict=True)
            for index, data in zip(shards[shard], found, strict=True)
        }

    def tokens(self, split: Split, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Clusters and codes of `record`, whose ids nobody has checked against the sizes yet."""
        data, path = self._data(split, index)
        return decode_tokens(data, path)

    def _data(self, split: Split, index: int) -> tuple[bytes, str]:
        """A serialized record and its file."""
        shard = self._shard_of(split, index)
        return self._read(split, shard, [index])[0], self._path(split, shard)

    def _shard_of(self, split: Split, index: int) -> int:
        if not 0 <= index < self.num_records(split):
            raise IndexError(f"{split} record {index} of {self.num_records(split)}")
        return int(np.searchsorted(self._ends[split], index, side="right"))

    def _path(self, split: Split, shard: int) -> str:
        return f"{self.directory}/{self._shards[split][shard]['name']}"

    def _read(self, split: Split, shard: int, indices: list[int]) -> list[bytes]:
        count = self._shards[split][shard]["records"]
        first = int(self._ends[split][shard]) - count
        numbers = [index - first for index in indices]
        return self._reader.read_many(self._path(split, shard), numbers, count)

    def records(self, split: Split) -> Iterator[TokenRecord]:
        """All clips of a split, in order."""
        for index in range(self.num_records(split)):
            yield self.record(split, index)

    def sequences(self, split: Split, stage: StageConfig) -> Iterator[Sequence]:
        """The unpadded sequences of `loader.heldout_batches`: all of a split once, in order."""
        for clusters, codes, is_end in self.windows(split, stage):
            yield build_sequence(clusters, codes, is_end, stage)

    def windows(
        self, split: Split, stage: StageConfig
    ) -> Iterator[tuple[Int[np.ndarray, " u"], Int[np.ndarray, "t q"], bool]]:
        """What `sequences` are built of: clusters, codes, whether the recording ends there."""
        _, lasts = self.file_edges(split)
        for number, record in enumerate(self.records(split)):
            for start, stop in even_windows(len(record.clusters), stage.crop_semantic):
                clusters, codes = record.cut(start, stop)
                is_end = stop == len(record.clusters) and int(lasts[number]) == number
                yield clusters.astype("int32"), codes.astype("int32"), is_end

    def _all_shards(self) -> list[dict[str, Any]]:
        return [shard for shards in self._shards.values() for shard in shards]


def _statistics(summaries: list[dict[str, Any]], sizes: TokenSizes) -> dict[str, Any]:
    """Clips, seconds, token counts, ids in use and unigram entropies of a split."""
    frames = sum(summary["frames"] for summary in summaries)
    seconds = frames / sizes.acoustic_rate_hz
    deduplicated = sum(summary["semantic_deduplicated"] for summary in summaries)
    clusters = np.sum([summary["semantic_counts"] for summary in summaries], axis=0)
    codes = np.sum([summary["acoustic_counts"] for summary in summaries], axis=0)
    return {
        "clips": sum(summary["records"] for summary in summaries),
        "seconds": seconds,
        "acoustic_tokens": frames * sizes.levels,
        "semantic_tokens": frames * sizes.semantic_rate_hz // sizes.acoustic_rate_hz,
        "semantic_deduplicated": deduplicated,
        "semantic_deduplicated_per_second": deduplicated / seconds,
        "semantic_used": int(np.sum(clusters > 0)),
        "semantic_entropy_nats": _entropy_nats(clusters),
        "acoustic_used": [int(np.sum(row > 0)) for row in codes],
        "acoustic_entropy_nats": [_entropy_nats(row) for row in codes],
    }


def _entropy_nats(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-np.sum(share * np.log(share)))
