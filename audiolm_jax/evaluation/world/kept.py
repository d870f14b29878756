"""What is made once and kept: sounds as wav with what made them, and what was heard in them."""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.atomic import write_json
from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.evaluation.measures.recognition import HeardWord, Recognizer
from audiolm_jax.generation.files import check_replaced, save_sound

logger = logging.getLogger(__name__)

AT_ONCE = 8  # sounds made together: what an interruption can lose


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A sound that is to be there."""

    path: Path
    provenance: dict[str, Any]  # JSON values that decide it
    place: int  # of its prompt or clip in the selection
    seed: int


def keep_sounds(
    wanted: Sequence[Wanted],
    make: Callable[[Sequence[Wanted]], Sequence[Float[np.ndarray, " _"]]],
    rate_hz: int,
) -> None:
    """Makes and writes those that are not there by the same provenance, a few at a time. They are
    to be read from the files, so that a sound is the same made now or before."""
    missing = [item for item in wanted if not _is_there(item)]
    logger.info("%d sounds to make, %d are there", len(missing), len(wanted) - len(missing))
    for first in range(0, len(missing), AT_ONCE):
        some = missing[first : first + AT_ONCE]
        for item, samples in zip(some, make(some), strict=True):
            save_sound(item.path, samples, rate_hz, item.provenance)


def _is_there(item: Wanted) -> bool:
    if not item.path.is_file():
        return False
    check_replaced(item.path, "--directory")
    return read_provenance(item.path) == json.loads(json.dumps(item.provenance))


def load_sound(path: Path) -> Float[np.ndarray, " s"]:
    """The samples of a sound that was kept."""
    return read_audio(path)[0]


def keep_words(
    recognizer: Recognizer, path: Path, samples: Float[np.ndarray, " s"]
) -> list[HeardWord]:
    """What is heard in the samples; read from `path`, where that is of the same recognizer and the
    same samples, else written there."""
    of = {
        "recognizer": recognizer.fingerprint,
        "samples": hashlib.sha256(np.ascontiguousarray(samples, np.float32).tobytes()).hexdigest(),
        "faster-whisper": version_of("faster-whisper"),
    }
    try:
        kept = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:  # not whole: heard again
        kept = {}
    if kept.get("of") != of:
        words = [dataclasses.asdict(word) for word in recognizer.words(samples)]
        kept = {"of": of, "words": words}
        write_json(path, kept)
    return [HeardWord(**word) for word in kept["words"]]


def version_of(package: str) -> str | None:
    """Of a package, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
