"""Audio to token store by a Beam pipeline whose unit of work is one output shard.

What a shard holds depends on the clip list alone, so any runner, any number of workers and any
number of interruptions give the same bytes; a run that was stopped skips the finished shards.
"""

import dataclasses
import functools
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex, load_clip
from audiolm_jax.data.shards import read_summary, shard_counts
from audiolm_jax.data.sources import SPLITS, AudioDataConfig, Split
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
from audiolm_jax.errors import InputError
from audiolm_jax.types import AcousticTokenizer, AudioBatch, SemanticTokenizer

LoadTokenizers = Callable[[], tuple[AcousticTokenizer, SemanticTokenizer]]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Shard:
    """One element of the pipeline: everything a worker needs to write one file."""

    name: str
    clips: tuple[ClipInfo, ...]
    label: str  # "3 of 9", for the progress line


def precompute(
    index: ClipIndex, load_tokenizers: LoadTokenizers, directory: Path, config: TokenizeConfig
) -> TokenStore:
    """Tokenizes every clip of both splits, or what is left of them, and opens the store;
    `load_tokenizers`, picklable and hashable, is called once in each worker and once here.

    The codec gets each clip filled with zeros to whole semantic frames, so that the number of its
    frames is an exact multiple of the number of semantic tokens. To the semantic tokenizer, whose
    norms run over the clip, that fill is padding like what follows it in a batch.
    """
    codec, semantic = _tokenizers(load_tokenizers)
    provenance = _provenance(index, codec, semantic)
    if (directory / MANIFEST).exists():
        store = TokenStore.open(directory)
        if store.fingerprint == provenance.fingerprint:
            logger.info("tokenize: %s is complete, nothing to do", directory)
            return store
        raise InputError(
            f"{directory}: holds tokens of fingerprint {store.fingerprint}, this run's have "
            f"{provenance.fingerprint}; delete the folder or choose another"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".*.array_record*"):  # of a run killed in the middle of a shard
        leftover.unlink()
    work, counts = _plan(index, config)
    writer = _ShardWriter(load_tokenizers, index.config, directory, config.batch_clips, provenance)
    _run_pipeline(work, writer, config)
    write_manifest(directory, provenance, counts, index.bad)
    return TokenStore.open(directory)


def _plan(index: ClipIndex, config: TokenizeConfig) -> tuple[list[_Shard], dict[Split, int]]:
    """The shards of both splits; a shard's clips are sorted by length to batch like with like."""
    clips = {s: index.clips.where(index.clips.is_heldout == (s == "heldout")) for s in SPLITS}
    counts = shard_counts({split: len(clips[split]) for split in SPLITS}, config.shards, "train")
    work: list[_Shard] = []
    for split, count in counts.items():
        for number in range(count):
            members = sorted(clips[split][number::count], key=lambda c: (c.num_samples, c.clip_id))
            label = f"{len(work) + 1} of {sum(counts.values())}"
            work.append(_Shard(shard_name(split, number, count), tuple(members), label))
    return work, counts


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


@dataclasses.dataclass(frozen=True)
class _ShardWriter:
    """Writes a shard unless it is there; the pickled part of the pipeline."""

    load_tokenizers: LoadTokenizers
    data: AudioDataConfig
    directory: Path
    batch_clips: int
    provenance: TokenProvenance

    def __call__(self, shard: _Shard) -> None:
        path, start = self.directory / shard.name, time.monotonic()
        if read_summary(path, self.provenance.fingerprint):
            logger.info("tokenize: shard %s: already written", shard.label)
            return
        summary = write_shard(path, self._records(shard), self.provenance)
        seconds = summary["frames"] / self.provenance.sizes.acoustic_rate_hz
        speed = seconds / (time.monotonic() - start)
        logger.info(
            f"tokenize: shard {shard.label}: {summary['records']} clips, {seconds:.0f} s of audio, "
            f"{speed:.1f} x real time"
        )

    def _records(self, shard: _Shard) -> Iterator[TokenRecord]:
        codec, semantic = _tokenizers(self.load_tokenizers)
        for first in range(0, len(shard.clips), self.batch_clips):
            clips = shard.clips[first : first + self.batch_clips]
            audio = [load_clip(self.data, clip) for clip in clips]
            lengths = np.array([len(samples) for samples in audio], np.int32)
            filled = -(-lengths // semantic.hop_samples) * semantic.hop_samples
            # Missing rows repeat the last clip: one batch size, hence one codec compilation.
            rows = [*range(len(clips)), *[len(clips) - 1] * (self.batch_clips - len(clips))]
            padded = [np.pad(samples, (0, filled.max() - len(samples))) for samples in audio]
            stacked = np.stack([padded[row] for row in rows])
            acoustic = codec.encode(AudioBatch(stacked, filled[rows]))
            clusters = semantic.encode(AudioBatch(stacked[: len(clips)], lengths))
            codes, frames = np.asarray(acoustic.codes), np.asarray(acoustic.lengths)
            ids, tokens = np.asarray(clusters.ids), np.asarray(clusters.lengths)
            for row, clip in enumerate(clips):
                yield TokenRecord(
                    clip_id=clip.clip_id,
                    codes=codes[row, : frames[row]],
                    clusters=ids[row, : tokens[row]],
                    dataset=self.data.dataset,
                    speaker=clip.speaker,
                    text=clip.text,
                    source_rate_hz=clip.source_rate_hz,
                )


def _run_pipeline(work: list[_Shard], writer: _ShardWriter, config: TokenizeConfig) -> None:
    logging.disable(logging.WARNING)  # it complains of optional packages that nobody asked for
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
    finally:
        logging.disable(logging.NOTSET)
    # It would log the traceback of an exception that arrives here anyway.
    logging.getLogger("apache_beam.runners").setLevel(logging.CRITICAL)

    # "DirectRunner" by name would first try to download another runner; name the embedded one.
    runner = None if config.beam_options else FnApiRunner()
    options = PipelineOptions(list(config.beam_options), pickle_library="cloudpickle")
    try:
        with beam.Pipeline(runner, options) as pipeline:
            _ = (
                pipeline
                | "shards" >> beam.Create(work)
                | "spread" >> beam.Reshuffle()
                | "tokenize" >> beam.Map(writer)
            )
    except Exception as error:
        # Beam wraps the worker's exception into its own, with the traceback as text.
        pattern = r"^(?:\w+\.)*InputError: (.+?)(?: \[while running .*)?$"
        if inner := re.search(pattern, str(error), re.M):
            raise InputError(inner[1]) from error
        raise


@functools.lru_cache(maxsize=1)
def _tokenizers(load: LoadTokenizers) -> tuple[AcousticTokenizer, SemanticTokenizer]:
    """Loads once in each process: what Beam copies with the writer is equal each time."""
    return load()
