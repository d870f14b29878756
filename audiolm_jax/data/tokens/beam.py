"""Tokenizing on whatever Beam runs on, one shard an element."""

import dataclasses
import functools
import logging
import re
import threading
from collections.abc import Sequence

from audiolm_jax.data.index import ClipIndex, index_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.tokenize import LoadTokenizers, Shard, ShardWriter, tokenizers_on
from audiolm_jax.errors import InputError

logger = logging.getLogger(__name__)


def run_pipeline(
    shards: list[Shard],
    writer: ShardWriter,
    data: AudioDataConfig,
    load_tokenizers: LoadTokenizers,
    options: Sequence[str],
) -> None:
    """Writes the shards that are not there, by the runner that Beam's `options` name. An element
    that is tried twice, at the same time even, gives the same file."""
    logging.disable(logging.WARNING)  # it complains of optional packages that nobody asked for
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    finally:
        logging.disable(logging.NOTSET)
    # It would log the traceback of an exception that arrives here anyway.
    logging.getLogger("apache_beam.runners").setLevel(logging.CRITICAL)
    write = _Write(writer, data, load_tokenizers)
    try:
        flags = [f"--{option.removeprefix('--')}" for option in options]
        settings = PipelineOptions(flags, pickle_library="cloudpickle")
        with beam.Pipeline(options=settings) as pipeline:
            _ = (
                pipeline
                | "shards" >> beam.Create(shards)
                | "spread" >> beam.Reshuffle()
                | "tokenize" >> beam.Map(write)
            )
    except Exception as error:
        # Beam wraps the worker's exception into its own, with the traceback as text.
        pattern = r"^(?:\w+\.)*InputError: (.+?)(?: \[while running .*)?$"
        if inner := re.search(pattern, str(error), re.M):
            raise InputError(inner[1]) from error
        raise


@dataclasses.dataclass(frozen=True)
class _Write:
    """What is sent to the workers, each of which opens the index of the recordings itself."""

    writer: ShardWriter
    data: AudioDataConfig
    load_tokenizers: LoadTokenizers

    def __call__(self, shard: Shard) -> None:
        if self.writer.is_written(shard):
            logger.info("tokenize: shard %s: already written", shard.label)
            return
        index = _index(self.data, self.writer.provenance.data_fingerprint)
        seconds = self.writer.write(
            shard, index, tokenizers_on(self.load_tokenizers, 0), threading.Event()
        )
        logger.info(f"tokenize: shard {shard.label}: {seconds / 3600:.2f} h of audio")


@functools.lru_cache(1)
def _index(data: AudioDataConfig, fingerprint: str) -> ClipIndex:
    index = index_folder(data)
    if index.fingerprint != fingerprint:
        raise InputError(
            f"--data.source = {data.source}: a worker sees other recordings there than the process "
            "that started it; give all the same folder, and let nobody change it meanwhile"
        )
    return index
