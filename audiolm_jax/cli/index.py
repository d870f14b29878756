"""`audiolm index`: decodes a folder of recordings once, so that no other command has to."""

import dataclasses
from collections.abc import Sequence

import tyro

from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.audio.names import shown
from audiolm_jax.cli.options import parse
from audiolm_jax.data.examples import comes_by_number, index_examples_share
from audiolm_jax.data.file_index import index_place, index_share
from audiolm_jax.data.index import files_of
from audiolm_jax.data.packs.read import find_pack
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.workers import ALONE, read_worker
from audiolm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class IndexOptions:
    """Decode what the index of a folder lacks: files that are new, or of another size or time.
    Stopped, it goes on where it was. Every command that uses the folder does the same when a file
    was added or removed, and otherwise decodes nothing."""

    source: tyro.conf.Positional[str]
    """Folder of recordings, searched in depth; a dataset of TFDS, tfds:NAME; or a corpus of yours,
    module:attribute."""
    index: str | None = None
    """Folder of the index, for --data.index of a config; None: .audiolm_index in source, for
    tfds:NAME in the folder of the dataset, for module:attribute in the user's cache folder."""
    exclude: tuple[str, ...] = ()
    """Patterns of files that are not to be decoded, as --data.exclude has them."""
    worker: str = "0/1"
    """Number of this process and how many share the work, such as 3/16, on machines that all see
    source; once all are done, `audiolm index` without it joins what they found."""


def index(arguments: Sequence[str]) -> None:
    """`audiolm index`."""
    options = parse(IndexOptions, arguments, "audiolm index")
    worker = read_worker(options.worker)
    if find_pack(options.source, hashes=False) is not None:
        raise InputError(f"{shown(options.source)}: a pack, which has its own index; leave it out")
    config = AudioDataConfig(options.source, exclude=options.exclude, index=options.index)
    place = shown(index_place(config))
    if worker != ALONE:
        if is_outside(config.source) and config.index is None:
            raise InputError(f"--worker {options.worker}: name a folder all see with --index")
        share = index_examples_share if comes_by_number(config.source) else index_share
        count = share(config, worker)
        done = f"{count} recordings by worker {options.worker}"
        print(f"{place}: {done}; join them with audiolm index")
        return
    files = files_of(config, looks_at_all=True)
    good = ~files.is_given("reason")
    rates = files.numbers("rate_hz")[good]
    hours = (files.numbers("samples")[good] / rates).sum() / 3600
    bad = len(files) - int(good.sum()) + len(files.left_out)
    found = f"{int(good.sum())} recordings, {hours:.2f} h"
    print(f"{place}: {found}; {bad} bad, audiolm audit names them")
