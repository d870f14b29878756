"""Crops with the class that each recording belongs to: an entry of a column of its metadata."""

import contextlib
import dataclasses
from collections.abc import Generator, Sequence

import numpy as np
from jaxtyping import Int

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.audio.names import shown
from audiolm_jax.data.crops import AudioCrops, CropLine
from audiolm_jax.data.index import ClipIndex, file_of, files_of
from audiolm_jax.data.sources import Split
from audiolm_jax.errors import InputError
from audiolm_jax.types import LabelledBatch

_OF_CLIPS = {"speaker", "accent", "language", "gender"}  # columns that clips have themselves


@dataclasses.dataclass(frozen=True)
class Labels:
    """The class of every clip of an index."""

    column: str
    classes: tuple[str, ...]
    codes: Int[np.ndarray, " clips"]  # into `classes`

    def of(self, index: ClipIndex, split: Split) -> Int[np.ndarray, " n"]:
        """Those of `index.of(split)`."""
        return self.codes[index.clips.is_heldout == (split == "heldout")]

    def counts(self, index: ClipIndex, split: Split) -> Int[np.ndarray, " classes"]:
        """Clips of each class."""
        return np.bincount(self.of(index, split), minlength=len(self.classes))

    def fingerprint(self) -> str:
        """16 hexadecimal digits over classes and codes."""
        return fingerprint([self.column, self.classes, self.codes.tolist()])


def read_labels(index: ClipIndex, column: str, classes: Sequence[str] = ()) -> Labels:
    """The classes of the clips by a column: "speaker", or one of metadata.tsv; `classes` in their
    order, or all that occur, sorted. InputError for a clip without a class or of another one, for a
    class without clips to train on, and for fewer than two classes."""
    where, names = index.config.source, entries_of(index, column)
    if "" in names:
        clip = index.clips[names.index("")]
        raise InputError(
            f"--label {column}: {where}/{clip.path} has none; name it in metadata.tsv or leave it "
            "out with --data.exclude"
        )
    found = tuple(classes) or tuple(sorted(set(names)))
    if strange := set(names) - set(found):
        clip = index.clips[names.index(min(strange))]
        raise InputError(
            f"--label {column}: {where}/{clip.path} is of class {min(strange)!r}, expected "
            f"{', '.join(found)}; leave it out with --data.exclude, or change --model.classes"
        )
    if len(found) < 2:
        raise InputError(f"--label {column}: all of {where} is {found[0]!r}, expected two classes")
    number = {name: code for code, name in enumerate(found)}
    labels = Labels(column, found, np.array([number[name] for name in names], np.int32))
    for name, count in zip(found, labels.counts(index, "train").tolist(), strict=True):
        if not count:
            raise InputError(
                f"--label {column}: no clip of class {name!r} to train on in {where}; add some, or "
                "change --data.split-by or --data.heldout-percent"
            )
    return labels


def entries_of(index: ClipIndex, column: str) -> list[str]:
    """Of each clip what a column says, "" if it says nothing."""
    if column in _OF_CLIPS:
        codes, values = index.clips.words(column)
        return [values[code] for code in codes.tolist()]
    files = files_of(index.config)  # of which clips keep a part only
    rows = {path: row for row, path in enumerate(files.texts("path"))}
    entries: dict[str, str] = {}
    names = []
    for clip_id, _, _ in index.clips.identities():
        path, _ = file_of(clip_id)
        if path not in rows:
            raise InputError(f"{index.config.source}/{path}: is gone; run the same command again")
        if path not in entries:
            entries[path] = shown(str(files.row(rows[path]).get(column, "")))
        names.append(entries[path])
    return names


class LabelledCrops(AudioCrops):
    """Crops of one split with their classes, of which as many are drawn from each; within a class
    as `AudioCrops` draws them."""

    def __init__(
        self,
        index: ClipIndex,
        split: Split,
        labels: Labels,
        crop_seconds: float,
        batch_size: int,
        seed: int,
        rows: Sequence[int] | None = None,
    ):
        super().__init__(index, split, crop_seconds, batch_size, seed, rows)
        self._labels = labels.of(index, split)
        members = [np.flatnonzero(self._labels == code) for code in range(len(labels.classes))]
        self._classes = [
            (numbers, CropLine(self._lengths[numbers], self.crop_samples))
            for numbers in members
            if len(numbers)
        ]

    def locate(self, position: int) -> tuple[int, int, int]:
        """The crop at a position of the stream, whose classes take turns."""
        turn, number = divmod(position, len(self._classes))
        members, line = self._classes[number]
        member, start, stop = line.locate(turn, position, self._seed)
        return int(members[member]), start, stop

    def labelled(self, start_step: int) -> Generator[LabelledBatch, None, None]:
        """Endless batches of this host's rows from a step on."""
        with contextlib.closing(self.batches(start_step)) as batches:
            for step, audio in enumerate(batches, start_step):
                first = step * self._batch_size
                numbers = [self.locate(first + row)[0] for row in self._rows]
                yield LabelledBatch(audio, self._labels[numbers])

    def labelled_heldout(self, limit: int | None = None) -> Generator[LabelledBatch, None, None]:
        """`heldout_batches` with their classes."""
        places, _ = self._heldout_places(limit)
        with contextlib.closing(self.heldout_batches(limit)) as batches:
            for windows, audio in zip(places, batches, strict=True):
                numbers = [number for number, _, _ in windows]
                yield LabelledBatch(audio, self._labels[numbers])
