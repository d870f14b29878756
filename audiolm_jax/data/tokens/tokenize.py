"""Audio to token store, one shard at a time, by any number of processes.

What a shard holds depends on the clip list alone, so any number of workers, devices and
interruptions give the same bytes; whoever finds a shard written or being written leaves it alone.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import jax
import numpy as np

from audiolm_jax.artifacts.writer import TakenError, only_writer
from audiolm_jax.data.clips import ClipInfo, Clips
from audiolm_jax.data.index import ClipIndex, load_clip
from audiolm_jax.data.prefetch import prefetch
from audiolm_jax.data.shards import read_summaries, read_summary, remove_unfinished, shard_counts
from audiolm_jax.data.sources import SPLITS, Split
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import (
    MANIFEST,
    TokenStore,
    shard_name,
    write_manifest,
    write_shard,
)
from audiolm_jax.data.workers import ALONE, Worker
from audiolm_jax.errors import InputError
from audiolm_jax.types import AcousticTokenizer, AudioBatch, SemanticTokenizer

Tokenizers = tuple[AcousticTokenizer, SemanticTokenizer]
LoadTokenizers = Callable[[], Tokenizers]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file to be written."""

    split: Split
    number: int
    count: int  # of the split
    label: str  # "3 of 9", for the progress line

    @property
    def name(self) -> str:
        """Of the file."""
        return shard_name(self.split, self.number, self.count)

    def clips(self, index: ClipIndex) -> Clips:
        """What it holds, by length, to batch like with like."""
        split = index.clips.where(index.clips.is_heldout == (self.split == "heldout"))
        return split[self.number :: self.count].by_length()


def precompute(
    index: ClipIndex,
    load_tokenizers: LoadTokenizers,
    directory: Path,
    config: TokenizeConfig,
    worker: Worker = ALONE,
    codes: Path | None = None,
) -> TokenStore | None:
    """Tokenizes every clip of both splits, or what is left of them, and opens the store; None if
    other processes are still writing some of it. A worker begins with its share and goes on with
    what nobody has begun. `load_tokenizers`, picklable and hashable, is called once for each device
    in each process. With `codes`, a store of the same clips and codec, its codes are taken and the
    codec does not run.

    The codec gets each clip filled with zeros to whole semantic frames, so that the number of its
    frames is an exact multiple of the number of semantic tokens. To the semantic tokenizer, whose
    norms run over the clip, that fill is padding like what follows it in a batch.
    """
    provenance = _provenance(index, *tokenizers_on(load_tokenizers, 0))
    if (directory / MANIFEST).exists():
        store = TokenStore.open(directory)
        if store.fingerprint == provenance.fingerprint:
            logger.info("tokenize: %s is complete, nothing to do", directory)
            return store
        raise InputError(
            f"{directory}: holds tokens of fingerprint {store.fingerprint}, this run's have "
            f"{provenance.fingerprint}; delete the folder or choose another"
        )
    if codes is not None:
        _check_codes(TokenStore.open(codes).provenance, provenance, codes)
    directory.mkdir(parents=True, exist_ok=True)
    shards, counts = plan_shards(index, config)
    writer = ShardWriter(directory, config.batch_clips, provenance, codes)
    paths = [directory / shard.name for shard in shards]
    if config.beam_options:
        from audiolm_jax.data.tokens.beam import run_pipeline

        if worker != ALONE:
            raise InputError("--tokenize.beam-options: Beam has workers of its own; omit --worker")
        run_pipeline(shards, writer, index.config, load_tokenizers, config.beam_options)
    else:
        _write_here(shards, writer, index, load_tokenizers, worker)
    if left := sum(x is None for x in read_summaries(paths, provenance.fingerprint)):
        logger.info(f"tokenize: {left} of {len(shards)} shards are others' work, not done yet")
        return None
    remove_unfinished(*paths)
    write_manifest(directory, provenance, counts, index.bad)
    return TokenStore.open(directory)


def plan_shards(index: ClipIndex, config: TokenizeConfig) -> tuple[list[Shard], dict[Split, int]]:
    """The shards of both splits, and how many each has."""
    clips: dict[Split, int] = {"heldout": int(index.clips.is_heldout.sum())}
    clips["train"] = len(index.clips) - clips["heldout"]
    counts = shard_counts({split: clips[split] for split in SPLITS}, config.shards, "train")
    total = sum(counts.values())
    places = [(split, n, count) for split, count in counts.items() for n in range(count)]
    return [Shard(*p, f"{i + 1} of {total}") for i, p in enumerate(places)], counts


def _provenance(
    index: ClipIndex, codec: AcousticTokenizer, semantic: SemanticTokenizer
) -> TokenProvenance:
    rate = index.config.sample_rate_hz
    for name, tokenizer in (("codec", codec), ("semantic tokenizer", semantic)):
        if tokenizer.sample_rate_hz != rate:
            raise InputError(
                f"--data.sample-rate-hz = {rate}: the {name} expects {tokenizer.sample_rate_hz} Hz"
            )
        if rate % (hop := tokenizer.hop_samples):
            raise InputError(f"{name}: hop of {hop} samples does not divide {rate}")
    if semantic.hop_samples % codec.hop_samples:
        raise InputError(
            f"semantic tokenizer: hop of {semantic.hop_samples} samples is no multiple of the "
            f"codec's {codec.hop_samples}"
        )
    sizes = TokenSizes(
        semantic_clusters=semantic.clusters,
        semantic_rate_hz=rate // semantic.hop_samples,
        acoustic_rate_hz=rate // codec.hop_samples,
        levels=codec.levels,
        codebook_size=codec.codebook_size,
    )
    return TokenProvenance(
        dataset=index.config.dataset,
        data_fingerprint=index.fingerprint,
        sample_rate_hz=rate,
        resampler=index.config.resampler,
        padding=PADDING_RULE,
        codec_fingerprint=codec.fingerprint,
        semantic_fingerprint=semantic.fingerprint,
        sizes=sizes,
        format_version=FORMAT_VERSION,
    )


def _check_codes(there: TokenProvenance, wanted: TokenProvenance, codes: Path) -> None:
    """InputError unless a store's codes are what the codec would give here."""
    same = (
        ("the recordings", "data_fingerprint"),
        ("the codec", "codec_fingerprint"),
        ("the padding of clips", "padding"),
    )
    for what, name in same:
        if (old := getattr(there, name)) != (new := getattr(wanted, name)):
            raise InputError(
                f"--codes {codes}: {what} of that store: {old!r}, of this run: {new!r}; leave it "
                "out, and the codec makes them anew"
            )
    old, new = there.sizes.semantic_rate_hz, wanted.sizes.semantic_rate_hz
    if old != new:
        raise InputError(
            f"--codes {codes}: its clips were filled up to whole semantic tokens of {old} Hz, this "
            f"run's have {new} Hz; leave it out, and the codec makes codes anew"
        )


@functools.cache
def _codes_of(directory: Path) -> tuple[TokenStore, dict[str, tuple[Split, int]]]:
    """A store, and where in it each clip is."""
    store = TokenStore.open(directory, verify=False)
    places = {
        clip_id: (split, number)
        for split in SPLITS
        for number, clip_id in enumerate(store.clip_ids(split))
    }
    return store, places


@dataclasses.dataclass(frozen=True)
class ShardWriter:
    """Writes shards that are not there."""

    directory: Path
    batch_clips: int
    provenance: TokenProvenance
    codes: Path | None = None  # a store to take codes from

    def is_written(self, shard: Shard) -> bool:
        """Whether it is there, of these tokenizers."""
        return read_summary(self.directory / shard.name, self.provenance.fingerprint) is not None

    def write(
        self, shard: Shard, index: ClipIndex, tokenizers: Tokenizers, stop: threading.Event
    ) -> float:
        """Writes it, unless it is told to stop; seconds of audio in it."""
        path = self.directory / shard.name
        with contextlib.closing(
            self._records(shard.clips(index), index, tokenizers, stop)
        ) as records:
            summary = write_shard(path, records, self.provenance)
        return summary["frames"] / self.provenance.sizes.acoustic_rate_hz

    def _records(
        self, clips: Clips, index: ClipIndex, tokenizers: Tokenizers, stop: threading.Event
    ) -> Generator[TokenRecord, None, None]:
        codec, semantic = tokenizers

        def read() -> Iterator[tuple[list[ClipInfo], list[np.ndarray]]]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for first in range(0, len(clips), self.batch_clips):
                    some = list(clips[first : first + self.batch_clips])
                    yield some, list(pool.map(functools.partial(load_clip, index.config), some))

        with contextlib.closing(prefetch(read, 1)) as batches:
            for some, audio in batches:
                if stop.is_set():
                    raise RuntimeError("stopped, as another shard failed")
                lengths = np.array([len(samples) for samples in audio], np.int32)
                filled = -(-lengths // semantic.hop_samples) * semantic.hop_samples
                # Missing rows repeat the last clip: one batch size, hence one codec compilation.
                rows = [*range(len(some)), *[len(some) - 1] * (self.batch_clips - len(some))]
                padded = [np.pad(samples, (0, filled.max() - len(samples))) for samples in audio]
                stacked = np.stack([padded[row] for row in rows])
                codes = self._codes(some, codec, AudioBatch(stacked, filled[rows]))
                clusters = semantic.encode(AudioBatch(stacked[: len(some)], lengths))
                ids, tokens = np.asarray(clusters.ids), np.asarray(clusters.lengths)
                for row, clip in enumerate(some):
                    yield TokenRecord(
                        clip_id=clip.clip_id,
                        codes=codes[row],
                        clusters=ids[row, : tokens[row]],
                        dataset=index.config.dataset,
                        speaker=clip.speaker,
                        text=clip.text,
                        source_rate_hz=clip.source_rate_hz,
                    )

    def _codes(
        self, clips: list[ClipInfo], codec: AcousticTokenizer, audio: AudioBatch
    ) -> list[np.ndarray]:
        """[t, q] of each clip, which `audio` begins with."""
        if self.codes is None:
            acoustic = codec.encode(audio)
            codes, frames = np.asarray(acoustic.codes), np.asarray(acoustic.lengths)
            return [codes[row, : frames[row]] for row in range(len(clips))]
        store, places = _codes_of(self.codes)
        return [store.tokens(*places[clip.clip_id])[1] for clip in clips]


def _write_here(
    shards: list[Shard], writer: ShardWriter, index: ClipIndex, load: LoadTokenizers, worker: Worker
) -> None:
    """Writes what nobody else does, a shard at a time on each device."""
    todo: queue.SimpleQueue[Shard] = queue.SimpleQueue()
    for shard in worker.in_order(shards):
        todo.put(shard)
    progress, stop = _Progress(), threading.Event()

    def work(number: int) -> None:
        with contextlib.suppress(queue.Empty), jax.default_device(_devices()[number]):
            tokenizers = None
            while not stop.is_set():
                shard = todo.get_nowait()
                with (
                    contextlib.suppress(TakenError),
                    only_writer(writer.directory / shard.name, True),
                ):
                    if writer.is_written(shard):
                        logger.info("tokenize: shard %s: already written", shard.label)
                        continue
                    tokenizers = tokenizers or tokenizers_on(load, number)
                    seconds = writer.write(shard, index, tokenizers, stop)
                    progress.tell(shard, seconds, todo.qsize())

    count = len(_devices())
    if count == 1:
        return work(0)
    with ThreadPoolExecutor(count) as pool:
        try:
            for ended in as_completed([pool.submit(work, number) for number in range(count)]):
                ended.result()
        except BaseException:
            stop.set()
            raise


def _devices() -> list[jax.Device]:
    """All accelerators of this machine, or its CPU, which works on one batch with all cores."""
    devices = jax.local_devices()
    return devices[:1] if devices[0].platform == "cpu" else devices


@functools.cache
def tokenizers_on(load: LoadTokenizers, number: int) -> Tokenizers:
    """Loads once for each device in each process: what Beam copies with a worker is equal."""
    with jax.default_device(_devices()[number]):
        return load()


class _Progress:
    """Tells how fast this process is."""

    def __init__(self) -> None:
        self._begun, self._written, self._hours = time.monotonic(), 0, 0.0
        self._lock = threading.Lock()

    def tell(self, shard: Shard, seconds: float, left: int) -> None:
        """A line for a shard."""
        with self._lock:
            self._written += 1
            self._hours += seconds / 3600
            elapsed = (time.monotonic() - self._begun) / 3600
            logger.info(
                f"tokenize: shard {shard.label}: {seconds / 3600:.2f} h of audio; "
                f"{self._hours / elapsed:.1f} h an hour, {left} shards left, "
                f"{60 * elapsed / self._written * left:.0f} min"
            )
