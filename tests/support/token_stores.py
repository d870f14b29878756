"""Small token stores, and digests of what is read from them."""

import dataclasses
import hashlib
import itertools

import numpy as np

from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import TokenStore, shard_name, write_manifest, write_shard
from audiolm_jax.data.walk import BadFile
from audiolm_jax.stages import StageConfig

SIZES = TokenSizes(
    semantic_clusters=6, semantic_rate_hz=25, acoustic_rate_hz=50, levels=3, codebook_size=5
)


def provenance_of(sizes, codec="c", semantic="s"):
    """Of tokens with these sizes by models of these fingerprints."""
    return TokenProvenance(
        dataset="fake",
        data_fingerprint="d",
        sample_rate_hz=16000,
        resampler="soxr_hq",
        padding=PADDING_RULE,
        codec_fingerprint=codec,
        semantic_fingerprint=semantic,
        sizes=sizes,
        format_version=FORMAT_VERSION,
    )


PROVENANCE = provenance_of(SIZES)
# As `data.index` names the clips of files that it cuts, and of files that only look like them.
CUT = {
    **{f"long.wav#{part:04d}": 23 for part in range(5)},
    **{f"c#0000.wav#{part:04d}": 10 for part in range(2)},
    "long.wav#0004.wav": 17,
    "b#0001.wav": 12,
    "b.wav": 4,
}
LENGTHS = {"train": [3, 10, 11, 40, 7, 25, 1, 100, 9], "heldout": [10, 4, 23, 61, 1]}


def stage(name, crop_seconds=0.4, **changes):
    sizes = {"semantic_clusters": 6, "codebook_size": 5, "levels": 3, "coarse_levels": 2}
    return StageConfig(name=name, crop_seconds=crop_seconds, **{**sizes, **changes})


def make_store(directory, lengths, seed=0, dataset="fake", **provenance):
    """`lengths[split]`: semantic tokens of each record, or of each by its id; two shards each."""
    facts = dataclasses.replace(PROVENANCE, dataset=dataset, **provenance)
    rng, records = np.random.default_rng(seed), {}
    directory.mkdir()
    for split, sizes in lengths.items():
        if not isinstance(sizes, dict):
            sizes = {f"{split}{n}.wav": size for n, size in enumerate(sizes)}
        named = list(sizes.items())
        # Ids and byte strings full of zeros, which padding must not be confused with.
        records[split] = [
            TokenRecord(
                clip_id=clip_id,
                codes=rng.integers(0, 5, (2 * size, 3)).astype(np.uint16) * (number % 3 > 0),
                clusters=rng.integers(0, 6, size).astype(np.uint16) * (number % 4 > 0),
                dataset=dataset,
                speaker="",
                text="",
                source_rate_hz=16000,
            )
            for number, (clip_id, size) in enumerate(named)
        ]
        for shard in range(2):
            path = directory / shard_name(split, shard, 2)
            write_shard(path, records[split][shard::2], facts)
        records[split] = records[split][0::2] + records[split][1::2]
    write_manifest(directory, facts, dict.fromkeys(lengths, 2), [BadFile("x.wav", "bad")])
    return records


def rows(batches, count):
    """First `count` batches as one array [fields, rows, l]."""
    taken = list(itertools.islice(batches, count))
    fields = [[b.inputs, b.targets, b.loss_weights, b.levels] for b in taken]
    return np.concatenate([np.stack(part) for part in fields], axis=1)


def digest(values):
    return hashlib.sha256(np.ascontiguousarray(values, "<i8").tobytes()).hexdigest()[:16]


class Lengths(TokenStore):
    """A store of many records, some of them parts of files, of which there is nothing else."""

    def __init__(self, records):
        self.provenance = PROVENANCE
        self.lengths = 1 + np.arange(records, dtype=np.int64) * 2654435761 % (1 << 32) % 1500
        number = np.arange(records, dtype=np.int64)
        first = number - number % 7
        last = np.minimum(first + 6, records - 1)
        self.edges = np.where(number % 5 == 0, -1, first), np.where(number % 11 == 0, -1, last)

    def num_records(self, split):
        return len(self.lengths) if split == "train" else 0

    def semantic_lengths(self, split):
        return self.lengths

    def file_edges(self, split):
        return self.edges
