"""`audiolm prepare`: long or raw recordings into short clips to train on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.audio.names import shown
from audiolm_jax.cli.options import parse
from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.detect import FireRed
from audiolm_jax.data.prepare.run import prepare as write_clips
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.workers import read_worker

_ANY_LENGTH = 1e6  # seconds: a recording is never cut by its length alone


@dataclasses.dataclass(frozen=True)
class PrepareOptions(PrepareConfig):
    """Cut recordings at pauses into short FLAC files, for --data.source of a config. Stopped, it
    goes on where it was."""

    source: tyro.conf.Positional[str] = tyro.MISSING
    """Folder of recordings of any length, or a pack."""
    out: Path = tyro.MISSING
    """Folder of the clips and of metadata.tsv, which tells whose they are."""
    worker: str = "0/1"
    """Number of this process and how many share the recordings, such as 3/16, on machines that all
    see both folders; whoever finds all recordings cut writes metadata.tsv."""
    list: bool = False
    """Name every bad file, not only the first ones of each reason."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out, as paths below source, such as "*/beep.*"."""
    index: str | None = None
    """Folder of the index of source (`audiolm index`); None: .audiolm_index in source."""


def prepare(arguments: Sequence[str]) -> None:
    """`audiolm prepare`."""
    options = parse(PrepareOptions, arguments, "audiolm prepare")
    worker = read_worker(options.worker)
    names = {field.name for field in dataclasses.fields(PrepareConfig)}
    config = PrepareConfig(**{name: getattr(options, name) for name in names})
    source = AudioDataConfig(
        options.source,
        min_seconds=config.min_seconds,
        max_seconds=_ANY_LENGTH,
        exclude=options.exclude,
        index=options.index,
    )
    report = write_clips(source, config, options.out, FireRed(), worker, options.list)
    if report is not None:
        print(report)
        print(f"{shown(options.out)}: for --data.source; --data.split-by source, or speaker")
