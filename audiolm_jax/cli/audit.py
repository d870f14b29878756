"""`audiolm audit`: what is in a folder of recordings, and what is wrong with it."""

import dataclasses
from collections.abc import Sequence

import tyro

from audiolm_jax.cli.options import parse
from audiolm_jax.data.audit import AuditReport
from audiolm_jax.data.index import ClipIndex, index_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.load import load_experiment

_DEFAULTS = AudioDataConfig(source=".")


@dataclasses.dataclass(frozen=True)
class AuditOptions:
    """Look at every file of a folder, decode what no index tells of, and report on it."""

    source: tyro.conf.Positional[str]
    """Folder of wav, w64, flac, mp3, ogg, opus, m4a or g722 files, searched in depth; a pack,
    whose files are then compared with their SHA-256; a dataset of TFDS, tfds:NAME; or a corpus of
    yours, module:attribute."""
    heldout_percent: int | float = _DEFAULTS.heldout_percent
    """Share of the files that training would never see; chosen by content."""
    heldout_minutes: float | None = _DEFAULTS.heldout_minutes
    """Minutes that training would never see, in place of a share."""
    split_by: int | str = _DEFAULTS.split_by
    """What is held out as a whole, as --data.split-by of a config has it."""
    min_seconds: float = _DEFAULTS.min_seconds
    """Shorter files are listed as bad."""
    max_seconds: float = _DEFAULTS.max_seconds
    """Longer files are read as consecutive clips."""
    index: str | None = None
    """Folder of the index (`audiolm index`); None: .audiolm_index in source."""
    exclude: tuple[str, ...] = _DEFAULTS.exclude
    """Patterns of files to leave out, as paths below source, such as "*/beep.*"."""
    list: bool = False
    """Name every bad file, not only the first ones of each reason."""
    configs: tuple[str, ...] = ()
    """Config files that are to use the folder: their rules are the defaults of the flags above, and
    it is checked that what they describe can be done with these recordings."""


def audit(arguments: Sequence[str]) -> None:
    """`audiolm audit`."""
    options = parse(AuditOptions, arguments, "audiolm audit")
    experiments = {path: load_experiment(path) for path in options.configs}
    listed: dict[AudioDataConfig, ClipIndex] = {}
    for path, experiment in experiments.items() or [("", None)]:
        data = getattr(experiment, "data", None) if experiment else _DEFAULTS
        if not isinstance(data, AudioDataConfig):
            raise InputError(f"--configs {path}: uses no recordings; leave it out")
        data = _with_flags(data, arguments)
        if data not in listed:
            listed[data] = index_folder(data, looks_at_all=True)
            print(AuditReport(listed[data], options.list))
        if not (index := listed[data]).clips:
            bad = len(index.bad)
            raise InputError(f"{options.source}: no usable recording among {bad} files")
        if experiment:
            try:
                experiment.check_data(index)
            except InputError as error:
                raise InputError(f"--configs {path}: {error}") from error


def _with_flags(data: AudioDataConfig, arguments: Sequence[str]) -> AudioDataConfig:
    """The rules of a config, overridden by the flags that are given."""
    names = {field.name for field in dataclasses.fields(AuditOptions)} & set(vars(data))
    own = AuditOptions(**{name: getattr(data, name) for name in names})
    given = parse(AuditOptions, arguments, "audiolm audit", own)
    return dataclasses.replace(data, **{name: getattr(given, name) for name in names})
