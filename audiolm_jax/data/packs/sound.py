"""The sound of a record: mono, kept to the last bit, in a small file that any program reads.

16-bit FLAC if all samples are whole multiples of 2^-15, 24-bit FLAC if of 2^-23 (the mean of two
16-bit channels is), and a wav file of 32-bit floats if neither holds or FLAC has no such rate.
"""

import io
import struct
from typing import Literal

import numpy as np
from jaxtyping import Float

Encoding = Literal["flac16", "flac24", "float32"]
ENCODINGS: tuple[Encoding, ...] = ("flac16", "flac24", "float32")
_BITS: dict[Encoding, int] = {"flac16": 16, "flac24": 24}
_HIGHEST_FLAC_HZ = 655_350
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sII4sI")


def encode_sound(samples: Float[np.ndarray, " s"], rate_hz: int) -> tuple[Encoding, bytes]:
    """A file of finite float32 samples: the smallest encoding that gives the same bits back."""
    import soundfile  # librosa brings it

    for encoding, bits in _BITS.items():
        if rate_hz > _HIGHEST_FLAC_HZ or (whole := _integers(samples, bits)) is None:
            continue
        file = io.BytesIO()
        soundfile.write(file, whole << 32 - bits, rate_hz, format="FLAC", subtype=f"PCM_{bits}")
        return encoding, file.getvalue()
    size = 4 * len(samples)
    header = _WAV_HEADER.pack(
        b"RIFF", _WAV_HEADER.size - 8 + size, b"WAVE",
        b"fmt ", 16, 3, 1, rate_hz, 4 * rate_hz, 4, 32,
        b"fact", 4, len(samples), b"data", size,
    )  # fmt: skip
    return "float32", header + samples.astype("<f4").tobytes()


def decode_sound(encoding: Encoding, file: bytes, start: int, stop: int) -> Float[np.ndarray, " n"]:
    """float32 samples [stop - start] of a file of `encode_sound`, decoding no more than it takes;
    fewer where the file ends. ValueError if it cannot be decoded."""
    if encoding == "float32":
        size = max(0, min(stop, (len(file) - _WAV_HEADER.size) // 4) - start)
        offset = _WAV_HEADER.size + 4 * start
        return np.frombuffer(file, "<f4", size, offset if size else 0).astype(np.float32)
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(file)) as sound:
            sound.seek(start)
            return sound.read(stop - start, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string) from error


def quantised(samples: Float[np.ndarray, " s"], bits: int) -> tuple[Float[np.ndarray, " s"], int]:
    """The nearest samples that have so many bits, and how many were clipped to [-1, 1)."""
    scale = 2.0 ** (bits - 1)
    whole = np.rint(samples.astype(np.float64) * scale)
    clipped = int(((whole < -scale) | (whole > scale - 1)).sum())
    nearest = whole.clip(-scale, scale - 1) + 0.0  # integers have no -0.0
    return (nearest / scale).astype(np.float32), clipped


def _integers(samples: np.ndarray, bits: int) -> np.ndarray | None:
    """int32 [s] that stand for exactly these samples, None if there are none."""
    scale = np.float32(2.0 ** (bits - 1))
    with np.errstate(over="ignore"):
        whole = np.rint(samples * scale)
    if not ((whole >= -scale) & (whole < scale)).all():
        return None
    integers = whole.astype(np.int32)
    again = integers.astype(np.float32) / scale
    is_same = np.array_equal(again.view(np.int32), samples.view(np.int32))  # -0.0 is not 0.0
    return integers if is_same else None
