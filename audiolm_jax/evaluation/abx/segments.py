"""Features of recordings, and the frames of each that an item takes.

Frame i of features at f Hz stands for the time (i + 1/2) / f. An item from `onset` to `offset`
takes the frames whose time lies within it, both ends included: from ceil(onset f - 1/2) to
floor(offset f - 1/2), "corrected", the rule of ABXpy and fastabx. Libri-Light's scripts lost the
last frame of every item: "legacy", to compare with such figures (AudioLM's among them).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Float32

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import Slicing
from audiolm_jax.evaluation.abx.items import Item

_FAR = 1e6


@dataclasses.dataclass(frozen=True)
class FrameFeatures:
    """What some model makes of recordings, frame by frame."""

    by_file: Mapping[str, np.ndarray]  # for each recording float [t, d] vectors, or int [t] codes
    rate_hz: Fraction  # frames per second
    codes: int | None = None  # number of codes; None if `by_file` holds vectors
    # Float [codes, d], vectors of the codes. None: different codes are equally far from each other.
    codebook: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise InputError(f"rate_hz = {self.rate_hz}: expected more than 0 frames a second")
        for file, frames in self.by_file.items():
            if frames.ndim != (2 if self.codes is None else 1):
                expected = "[frames, width]" if self.codes is None else "[frames]"
                raise InputError(f"{file}: features of shape {frames.shape}: expected {expected}")
            if self.codes is None and not np.isfinite(frames).all():
                raise InputError(f"{file}: features hold NaN or infinite values")
            if self.codes is not None and len(frames):
                low, high = int(frames.min()), int(frames.max())
                if not 0 <= low <= high < self.codes:
                    span = f"[{low}, {high}]"
                    raise InputError(f"{file}: codes span {span}: expected 0 to {self.codes - 1}")


@dataclasses.dataclass(frozen=True)
class Segments:
    """The frames of items that have any."""

    items: tuple[Item, ...]  # sorted by file and time
    # Of all recordings one after the other: float32 [n, d] of `unit_vectors`, or int32 [n] codes.
    frames: np.ndarray
    starts: np.ndarray  # int64 [items], first frame of each
    lengths: np.ndarray  # int64 [items], number of frames of each, 1 or more
    empty: int  # items left out because no frame falls within them
    cut: int  # items that end one frame after the features do, and lost that frame


def frame_range(
    onset: Decimal, offset: Decimal, rate_hz: Fraction, slicing: Slicing
) -> tuple[int, int]:
    """(first, end) of the frames of an item, end not included; see this module. Exact."""
    half = Fraction(1, 2)
    first = math.ceil(Fraction(onset) * rate_hz - half)
    last = math.floor(Fraction(offset) * rate_hz - half)
    return first, last + 1 if slicing == "corrected" else last


def cut_segments(items: Sequence[Item], features: FrameFeatures, slicing: Slicing) -> Segments:
    """The frames of each item. Encoders without padding make one frame less than a recording has
    room for: an item that lacks just that is cut and counted; one that lacks more, InputError."""
    files = sorted({item.file for item in items})
    if missing := [file for file in files if file not in features.by_file]:
        which = f"{len(missing)} of {len(files)} files"
        raise InputError(f"{which} have items but no features, such as {missing[0]!r}")
    arrays = [features.by_file[file] for file in files]
    begins = dict(zip(files, np.cumsum([0, *map(len, arrays)]), strict=False))
    kept, starts, lengths, empty, cut = [], [], [], 0, 0
    for item in sorted(items, key=lambda item: (item.file, item.onset, item.offset, item.phone)):
        first, end = frame_range(item.onset, item.offset, features.rate_hz, slicing)
        count = len(features.by_file[item.file])
        if end > count + 1:
            raise InputError(
                f"{item.file}: an item ends at {item.offset} s, frame {end} at "
                f"{float(features.rate_hz):g} Hz, but there are {count} frames: not its features?"
            )
        cut += end > count
        end = min(end, count)
        if end <= first:
            empty += 1
            continue
        kept.append(item)
        starts.append(begins[item.file] + first)
        lengths.append(end - first)
    frames = np.concatenate(arrays) if arrays else np.zeros((0, 1), np.float32)
    frames = unit_vectors(frames) if features.codes is None else frames.astype(np.int32)
    spans = np.array(starts, np.int64), np.array(lengths, np.int64)
    return Segments(tuple(kept), frames, *spans, empty, cut)


def unit_vectors(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Vectors scaled to length 1. If some are zero, one more column puts them as far as can be
    (angle pi) from all others, and at no distance from each other, as Libri-Light did."""
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    is_zero = norms == 0
    vectors = vectors / np.where(is_zero, 1, norms)
    if is_zero.any():
        vectors = np.concatenate([vectors, np.where(is_zero, -2 * _FAR, 1 / _FAR)], axis=1)
    return vectors.astype(np.float32)


def code_distances(
    codes: int, codebook: Float[np.ndarray, "codes d"] | None
) -> Float32[np.ndarray, "codes codes"]:
    """Angle over pi between the vectors of any two codes; exactly 0 for a code and itself, 1/2 for
    different codes without a codebook."""
    if codebook is None:
        angles = np.full((codes, codes), 0.5)
    else:
        vectors = unit_vectors(codebook).astype(np.float64)
        angles = np.arccos(np.clip(vectors @ vectors.T, -1, 1)) / np.pi
    np.fill_diagonal(angles, 0.0)
    return np.maximum(angles, angles.T).astype(np.float32)
