"""`audiolm pack`: recordings into few large files of which any crop is read at once."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.audio.names import shown
from audiolm_jax.cli.options import parse
from audiolm_jax.data.packs.config import PackConfig
from audiolm_jax.data.packs.write import pack as write_pack
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.workers import read_worker

_DEFAULTS = AudioDataConfig(source=".")


@dataclasses.dataclass(frozen=True)
class PackOptions(PackConfig):
    """Pack recordings, kept to the bit, into files of many clips each, for --data.source of a
    config. Stopped, it goes on where it was."""

    source: tyro.conf.Positional[str] = tyro.MISSING
    """Folder of recordings, a pack, or a dataset of TFDS, tfds:NAME."""
    out: Path = tyro.MISSING
    """Folder of the pack."""
    worker: str = "0/1"
    """Number of this process and how many share the shards, such as 3/16, on machines that all see
    both folders; whoever finds all shards there finishes the pack."""
    dataset: str = _DEFAULTS.dataset
    """Short name of the corpus, in names of files and in TFDS."""
    heldout_percent: int | float = _DEFAULTS.heldout_percent
    """Share of the files that go to the split "heldout", as --data.heldout-percent has it. A config
    that reads the pack may split otherwise."""
    heldout_minutes: float | None = _DEFAULTS.heldout_minutes
    """Minutes that do, in place of a share."""
    split_by: int | str = _DEFAULTS.split_by
    """What is held out as a whole, as --data.split-by has it."""
    min_seconds: float = _DEFAULTS.min_seconds
    """Shorter files are left out."""
    max_seconds: float = _DEFAULTS.max_seconds
    """Longer files become consecutive records. Shorter records are read faster; clips of any other
    length are read all the same."""
    exclude: tuple[str, ...] = _DEFAULTS.exclude
    """Patterns of files to leave out, as paths below source, such as "*/beep.*"."""
    resampler: str = _DEFAULTS.resampler
    """Named recipe of the conversion to sample_rate_hz."""
    index: str | None = None
    """Folder of the index (`audiolm index`); None: .audiolm_index in source."""


def pack(arguments: Sequence[str]) -> None:
    """`audiolm pack`."""
    options = parse(PackOptions, arguments, "audiolm pack")
    worker = read_worker(options.worker)
    names = {field.name for field in dataclasses.fields(AudioDataConfig)}
    given = {name: value for name, value in vars(options).items() if name in names}
    source = AudioDataConfig(**{**given, "sample_rate_hz": options.sample_rate_hz or 16_000})
    config = PackConfig(options.shards, options.sample_rate_hz, options.bits)
    if write_pack(source, config, options.out, worker):
        print(f"{shown(options.out)}: a pack, for --data.source; audiolm info tells of it")
