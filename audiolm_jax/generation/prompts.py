"""Recordings and arrays as prompts: what is heard of them, and why one is refused."""

import dataclasses
import hashlib
import logging
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.local_copy import local_copy
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.files import check_rate, iter_audio
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.resample import resample
from audiolm_jax.errors import InputError

_SILENT_DBFS = -80.0
_FULL_SCALE = 32767 / 32768
_CLIPPED_SHARE = 1e-3  # a normalised recording has a few such samples, a clipped one many

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Prompt:
    """Sound to go on from, and what is to be said of it."""

    samples: np.ndarray  # float32 [s], mono at the models' rate
    name: str  # the file's, or what the argument is called
    sha256: str  # of the file, or of the array as it was given
    notes: tuple[str, ...] = ()  # what was not taken as it was, a line each


@dataclasses.dataclass(frozen=True)
class Hearing:
    """What models can hear."""

    rate_hz: int
    least_samples: int  # of the prompt, at that rate: one semantic frame
    longest_seconds: float  # of which the last are heard


def take_prompt(
    audio: Any,
    rate_hz: int | None,
    hearing: Hearing,
    first_seconds: float | None = None,
    name: str = "prompt",
) -> Prompt:
    """A path, or an array with its rate in Hz, as a prompt.

    Of a path any format, rate and number of channels is read. An array is [s] or [s, channels],
    floats with full scale 1 or integers with that of their type. `first_seconds` takes the
    beginning; of what is longer than the models can hear the end is taken, and a note says so. It
    is cut first and converted after: the rest cannot leak into it. InputError, with the name of the
    file or argument: cannot be read, too short, silent, not finite.
    """
    if first_seconds is not None and not 0 < first_seconds < np.inf:
        raise InputError(f"--prompt-seconds {first_seconds}: expected more than 0")
    if isinstance(audio, str | Path):
        if rate_hz is not None:
            raise InputError(f"rate_hz = {rate_hz}: {audio} says its own; leave it out")
        path = at(audio)
        name, (samples, rate, total) = shown(path), _heard(path, first_seconds, hearing)
        with local_copy(path, is_kept=True) as copy:
            sha256 = file_sha256(copy)
    else:
        samples, rate = _array(audio, rate_hz, name)
        sha256 = hashlib.sha256(np.ascontiguousarray(audio).tobytes()).hexdigest()
        if first_seconds is not None:
            samples = samples[: round(first_seconds * rate)]
        total = len(samples)
        samples = samples[-_most(hearing, rate) :]
    if first_seconds is not None and total < round(first_seconds * rate):
        there = f"{name} has only {total / rate:.2f} s"
        raise InputError(
            f"--prompt-seconds {first_seconds}: {there}; ask for less or leave the flag out"
        )
    notes = _notes(samples, rate, total, name)
    for note in notes:
        logger.warning(f"{name}: {note}")
    converted = resample(samples, rate, hearing.rate_hz, "soxr_hq").astype(np.float32, copy=False)
    if not np.isfinite(converted).all():
        raise InputError(f"{name}: samples too large to convert the rate, expected them in [-1, 1]")
    if len(converted) < hearing.least_samples:
        seconds = hearing.least_samples / hearing.rate_hz
        raise InputError(
            f"{name}: {total / rate:.3f} s, expected at least {seconds:.2f} s of sound"
        )
    return Prompt(converted, name, sha256, notes)


def _heard(
    path: Path, first_seconds: float | None, hearing: Hearing
) -> tuple[Float[np.ndarray, " s"], int, int]:
    """(the samples of a file that are heard, its rate, samples up to their end); memory holds
    little more than those, however long the file is."""
    blocks: deque[np.ndarray] = deque()
    kept, total, rate = 0, 0, 0
    for block, rate in iter_audio(path):
        if first_seconds is not None:
            block = block[: round(first_seconds * rate) - total]
        blocks.append(block)
        kept, total = kept + len(block), total + len(block)
        while kept - len(blocks[0]) >= _most(hearing, rate):
            kept -= len(blocks.popleft())
        if first_seconds is not None and total >= round(first_seconds * rate):
            break
    if not total:
        raise InputError(f"{shown(path)}: holds no samples")
    return np.concatenate(blocks)[-_most(hearing, rate) :], rate, total


def _most(hearing: Hearing, rate_hz: int) -> int:
    return max(1, round(hearing.longest_seconds * rate_hz))


def _array(audio: Any, rate_hz: int | None, name: str) -> tuple[Float[np.ndarray, " s"], int]:
    if rate_hz is None:
        raise InputError(f"rate_hz: expected the rate of the array {name} in Hz")
    check_rate(name, rate_hz)
    values = np.asarray(audio)
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2) or not values.size:
        found = f"{values.dtype} of shape {values.shape}"
        raise InputError(f"{name}: {found}, expected numbers [samples] or [samples, channels]")
    if values.ndim == 2 and values.shape[1] > min(64, values.shape[0]):
        raise InputError(
            f"{name}: shape {values.shape}, expected [samples, channels]: transpose it"
        )
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        middle = 0 if values.dtype.kind == "i" else 2.0 ** (info.bits - 1)
        values = (values.astype(np.float64) - middle) / 2.0 ** (info.bits - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        samples = values.astype(np.float64).reshape(len(values), -1).mean(axis=1)
        samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: contains NaN or infinite samples, expected finite ones")
    return samples, rate_hz


def _notes(
    samples: Float[np.ndarray, " s"], rate_hz: int, total: int, name: str
) -> tuple[str, ...]:
    """InputError for silence."""
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    if level < 10 ** (_SILENT_DBFS / 20):
        found = "all zeros" if not samples.any() else f"{20 * np.log10(level):.0f} dBFS"
        raise InputError(
            f"{name}: is silent ({found}), expected sound above {_SILENT_DBFS:.0f} dBFS"
        )
    notes = []
    if total > len(samples):
        whole, heard = total / rate_hz, len(samples) / rate_hz
        notes.append(f"{whole:.2f} s long, its last {heard:.2f} s are heard")
    if (share := float(np.mean(np.abs(samples) >= _FULL_SCALE))) >= _CLIPPED_SHARE:
        notes.append(f"clipped: {share:.1%} of the samples are at full scale")
    return tuple(notes)
