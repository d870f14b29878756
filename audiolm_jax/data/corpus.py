"""A corpus from outside: recordings that code of a user's own gives by number.

`AudioDataConfig(source="mypackage.corpus:open_corpus")` names a function without arguments that
returns a `Corpus`; a class will do. docs/guide/extending.md holds a whole one.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.outside import code_of, made_by
from audiolm_jax.audio.names import one_line
from audiolm_jax.errors import InputError

_FLAG = "--data.source"
_RATES_HZ = (4_000, 768_000)
_TOLD = ("speaker", "text", "gender", "accent", "language", "split")


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording and what is known of it; "" where nothing is."""

    name: str  # no other of the corpus has it; --data.exclude goes by it
    samples: np.ndarray  # float [s], mono, finite, nominally in [-1, 1]
    sample_rate_hz: int  # 4000 to 768000
    speaker: str = ""
    text: str = ""  # what is said
    gender: str = ""  # "male" or "female"
    accent: str = ""
    language: str = ""
    split: str = ""  # for --data.split-by official: "dev..." and "test..." are held out
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)  # for --data.split-by NAME


@runtime_checkable
class Corpus(Protocol):
    """Recordings by number: the same from every process, thread and start."""

    version: str  # another one whenever any recording has become another

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, number: int, /) -> Recording:
        """One of them, from 0 on; called from several threads. InputError if it cannot be used: it
        is listed as bad, with that reason."""


class OutsideCorpus:
    """`examples.Source` of a name `module:attribute`."""

    def __init__(self, name: str):
        """InputError if there is nothing of that name, or no corpus."""
        self._name, where = name, f"{_FLAG} = {name}"
        self._corpus: Corpus = made_by(name, where, Corpus)
        if not len(self._corpus):
            raise InputError(f"{where}: a corpus without recordings")
        self.splits = {"": range(len(self._corpus))}
        self.mark = fingerprint(
            [name, code_of(name, where), str(self._corpus.version), len(self._corpus)]
        )

    def facts(self, number: int, split: str, within: int) -> tuple[dict[str, str], dict[str, Any]]:
        """See `examples.Source`."""
        try:
            recording = self._recording(number)
        except InputError as error:
            return {"path": f"{number:08d}"}, {"reason": one_line(str(error))}
        samples = recording.samples
        told = {name: one_line(getattr(recording, name)) for name in _TOLD}
        # "#" and digits would be taken for the number of a stretch of a longer recording.
        path = one_line(recording.name).replace("#", r"\x23")
        is_sound = np.isfinite(samples).all()
        return {**recording.more, **told, "path": path}, {
            "size": samples.nbytes,
            "samples": len(samples),
            "rate_hz": recording.sample_rate_hz,
            "channels": 1,
            "codec": "pcm_f32le",
            "sha256": hashlib.sha256(samples.tobytes()).digest(),
            "energy": float(np.dot(samples, samples)),
            "reason": "" if is_sound else "contains NaN or infinite samples, expected finite ones",
        }

    def read(self, number: int, start: int, stop: int) -> tuple[np.ndarray, int]:
        """See `examples.Source`."""
        samples = self._recording(number).samples
        return samples[start:stop], len(samples)

    def where(self, number: int) -> str:
        """See `examples.Source`."""
        return f"{self._name}, recording {number}"

    def forget(self) -> None:
        """See `examples.Source`."""

    def _recording(self, number: int) -> Recording:
        found = self._corpus[number]
        if not isinstance(found, Recording):
            kind = type(found).__name__
            raise InputError(f"is a {kind}, expected a {Recording.__module__}.Recording")
        samples = np.asarray(found.samples)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            shape = f"{samples.dtype} {list(samples.shape)}"
            raise InputError(f"samples are {shape}, expected floats of one dimension")
        if not _RATES_HZ[0] <= found.sample_rate_hz <= _RATES_HZ[1]:
            raise InputError(f"sample_rate_hz = {found.sample_rate_hz}: expected 4000 to 768000")
        return dataclasses.replace(found, samples=samples.astype(np.float32, copy=False))
