"""Sound as it is written: wav or FLAC by the name, header and samples for a pipe, and the note in
a file that says what made it."""

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.at_hand import at_hand
from audiolm_jax.audio.files import WavWriter, comment_of, open_sound, pcm16, probe
from audiolm_jax.audio.wav import UNKNOWN_SIZE, read_wav_provenance

SUFFIXES = (".wav", ".flac")  # of files that are written


class FlacWriter:
    """As `WavWriter`: a context that leaves the whole file, or none after an error. The provenance
    is the tag COMMENT, its "software" SOFTWARE too."""

    def __init__(self, path: Path | str, sample_rate_hz: int, provenance: dict[str, Any] | None):
        self.samples = 0
        self.clipped = 0
        self._path, self._rate, self._provenance = at(path), sample_rate_hz, provenance

    def __enter__(self) -> "FlacWriter":
        import soundfile

        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(atomic_path(self._path))
            self._folder = scratch.parent
            handle = stack.enter_context(scratch.open("wb"))
            # By number: libsndfile writes itself, and knows no names but UTF-8.
            self._file = stack.enter_context(
                soundfile.SoundFile(
                    handle.fileno(), "w", self._rate, 1, "PCM_16", format="FLAC", closefd=False
                )
            )
            if self._provenance is not None:
                self._file.comment = comment_of(self._provenance)
                if isinstance(software := self._provenance.get("software"), str):
                    self._file.software = software
            self._stack = stack.pop_all()
        return self

    def write(self, samples: Float[np.ndarray, " s"]) -> None:
        """Appends finite samples, nominally in [-1, 1]."""
        pcm, clipped = pcm16(samples)
        with ask_disk(self._folder, pcm.nbytes):
            self._file.write(pcm.astype(np.int16))
        self.samples += len(pcm)
        self.clipped += clipped

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)


SoundWriter = WavWriter | FlacWriter


def open_writer(
    path: Path | str, sample_rate_hz: int, provenance: dict[str, Any] | None
) -> SoundWriter:
    """A writer of wav, or of FLAC where the name ends in .flac; the provenance, JSON values, is
    kept inside."""
    writer = FlacWriter if at(path).suffix.lower() == ".flac" else WavWriter
    return writer(path, sample_rate_hz, provenance)


def wav_header(sample_rate_hz: int) -> bytes:
    """Of 16-bit mono sound of unknown length, for a pipe: both sizes are the largest number, which
    players take for "to the end"."""
    header = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16)
    unknown = struct.pack("<I", UNKNOWN_SIZE)
    return b"RIFF" + unknown + b"WAVEfmt " + header + b"data" + unknown


def read_provenance(path: Path | str) -> dict[str, Any] | None:
    """What `open_writer` left in a wav or FLAC file; None for a file without it."""
    path = at(path)
    if path.suffix.lower() != ".flac":
        return read_wav_provenance(path)
    probe(path)
    with at_hand(path) as copy, open_sound(copy, []) as (container, _):
        tags = {name.lower(): text for name, text in container.metadata.items()}
    try:
        value = json.loads(tags.get("comment", ""))
    except ValueError:  # somebody else's comment
        return None
    return value if isinstance(value, dict) else None
