"""`audiolm audit`: what is in a folder of recordings, and what is wrong with it."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import tyro

from audiolm_jax.cli.options import parse
from audiolm_jax.data.audit import audit as audit_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError

_DEFAULTS = AudioDataConfig(audio_dir=".")


@dataclasses.dataclass(frozen=True)
class AuditOptions:
    """Decode every file of a folder and report on it."""

    audio_dir: tyro.conf.Positional[str]
    """Folder of wav, flac, mp3, ogg, opus, m4a or g722 files, searched in depth."""
    heldout_percent: int | float = _DEFAULTS.heldout_percent
    """Share of the files that training would never see; chosen by content."""
    heldout_minutes: float | None = _DEFAULTS.heldout_minutes
    """Minutes that training would never see, in place of a share."""
    split_by: Literal["file", "speaker"] | int = _DEFAULTS.split_by
    """What is held out as a whole: a file, a speaker (first folder) or so many first folders."""
    min_seconds: float = _DEFAULTS.min_seconds
    """Shorter files are listed as bad."""
    max_seconds: float = _DEFAULTS.max_seconds
    """Longer files are read as consecutive clips."""
    exclude: tuple[str, ...] = _DEFAULTS.exclude
    """Patterns of files to leave out, as paths below audio_dir, such as "*/beep.*"."""


def audit(arguments: Sequence[str]) -> None:
    """`audiolm audit`."""
    options = parse(AuditOptions, arguments, "audiolm audit")
    report = audit_folder(AudioDataConfig(**dataclasses.asdict(options)))
    print(report)
    if not report.clips:
        bad = len(report.index.bad)
        raise InputError(f"{options.audio_dir}: no usable recording among {bad} files")
