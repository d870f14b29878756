"""Frames of features in memory or on disk, read a stretch at a time.

On disk they are numpy files of consecutive frames, each written in one rename, so a file that is
there is whole. They are mapped into memory, never read as a whole.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.errors import InputError


class FrameSource(Protocol):
    """A long table of features.

    Attributes:
      frames: its rows.
      width: its columns.
    """

    frames: int
    width: int

    def read(self, begin: int, end: int) -> Float[np.ndarray, "n d"]:
        """Rows from `begin` to before `end`, float32."""

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """Single rows, float32, in the order asked for."""


class ArrayFrames:
    """`FrameSource` of an array in memory."""

    def __init__(self, features: Float[np.ndarray, "n d"]) -> None:
        self._features = np.asarray(features, np.float32)
        self.frames, self.width = self._features.shape

    def read(self, begin: int, end: int) -> Float[np.ndarray, "n d"]:
        """As `FrameSource.read`."""
        return self._features[begin:end]

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """As `FrameSource.take`."""
        return self._features[rows]


class FrameStore:
    """`FrameSource` of files in a folder."""

    def __init__(self, directory: Path, counts: Sequence[int], width: int) -> None:
        """Opens files that have all been written.

        Args:
          directory: the folder.
          counts: frames of each file.
          width: dimensions of a frame.

        Raises:
          InputError: a file is missing, damaged or of another shape.
        """
        self._ends = np.cumsum(counts)
        self.frames, self.width = int(self._ends[-1]), width
        self._files = [_open(directory, i, (n, width)) for i, n in enumerate(counts)]

    def read(self, begin: int, end: int) -> Float[np.ndarray, "n d"]:
        """As `FrameSource.read`."""
        parts, first = [], int(np.searchsorted(self._ends, begin, side="right"))
        for number in range(first, len(self._files)):
            start = int(self._ends[number]) - len(self._files[number])
            if start >= end:
                break
            parts.append(self._files[number][max(begin - start, 0) : end - start])
        return np.concatenate(parts)

    def take(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
        """As `FrameSource.take`."""
        taken = np.empty((len(rows), self.width), np.float32)
        files = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(files):
            here = files == number
            start = int(self._ends[number]) - len(self._files[number])
            taken[here] = self._files[number][rows[here] - start]
        return taken


def shard_path(directory: Path, number: int) -> Path:
    """The file of that number."""
    return directory / f"{number:06d}.npy"


def write_shard(directory: Path, number: int, features: Float[np.ndarray, "n d"]) -> None:
    """Writes one file of a `FrameStore`, whole or not at all."""
    with atomic_path(shard_path(directory, number)) as scratch:
        np.save(scratch, np.ascontiguousarray(features, np.float32), allow_pickle=False)


def _open(directory: Path, number: int, shape: tuple[int, int]) -> np.ndarray:
    path = shard_path(directory, number)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a file of features ({error}); delete {directory} and start again"
        ) from error
    if array.shape != shape or array.dtype != np.float32:
        raise InputError(
            f"{path}: {array.dtype} features of shape {array.shape}: expected float32 {shape}; "
            f"delete {directory} and start again"
        )
    return array
