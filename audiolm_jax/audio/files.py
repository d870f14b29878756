"""Reading and writing audio files, with errors that name the file and the reason.

Decoding goes through PyAV, whose wheels carry FFmpeg. The container format is forced by the suffix
and never guessed from the content: a playlist named .mp3 must not make FFmpeg open other files.
"""

import contextlib
import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.errors import InputError

# Suffix -> FFmpeg demuxer.
FORMATS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".ogg": "ogg", ".opus": "ogg"}
FORMATS |= {".m4a": "mov", ".g722": "g722"}
# Demuxers that land exactly on the sample they are asked for; all others decode from the start.
_EXACT_SEEK = {"wav", "flac"}
# A hostile or broken header must not turn a small file into gigabytes when it is resampled.
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4_000, 768_000
_UNKNOWN_SIZE = 0xFFFFFFFF  # what writers to a pipe leave in the size fields


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; only decoding counts the samples of a compressed file exactly."""

    sample_rate_hz: int
    channels: int
    codec: str  # FFmpeg's name, such as pcm_s16le
    seconds: float | None  # None where the format does not say


def probe(path: Path | str) -> AudioInfo:
    """Reads the header only, and proves that a wav file is whole; InputError if it is no audio."""
    with _open(Path(path)) as (container, stream):
        seconds = float(stream.duration * stream.time_base) if stream.duration else None
        if container.format.name == "g722":  # headerless: 4 bits a sample
            seconds = Path(path).stat().st_size * 2 / stream.sample_rate
        codec = stream.codec_context.codec.name
        return AudioInfo(stream.sample_rate, stream.channels, codec, seconds)


def iter_audio(
    path: Path | str, start_seconds: float = 0.0
) -> Iterator[tuple[Float[np.ndarray, " n"], int]]:
    """`read_audio` block by block; some of its errors show only after the last block."""
    path = Path(path)
    with _open(path) as (container, stream):
        rate = stream.sample_rate
        skip = round(start_seconds * rate)
        if seeks := bool(skip) and container.format.name in _EXACT_SEEK:
            container.seek(round(skip / rate / stream.time_base), stream=stream)
        position: int | None = None if seeks else 0  # sample index of the next frame
        try:
            for frame in container.decode(stream):
                if frame.sample_rate != rate:
                    raise InputError(f"{path}: sample rate changes to {frame.sample_rate} Hz")
                if position is None:
                    position = round(frame.pts * frame.time_base * rate)
                block = _mono(frame, path)
                position += len(block)
                block = block[max(0, len(block) - max(0, position - skip)) :]
                if not np.isfinite(block).all():
                    raise InputError(f"{path}: contains NaN or infinite samples")
                if len(block):
                    yield block, rate
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: decoding failed: {_reason(error)}") from error
        _check_decoded_length(path, container.format.name, stream, position or 0)


def read_audio(
    path: Path | str, start_seconds: float = 0.0, seconds: float | None = None
) -> tuple[Float[np.ndarray, " s"], int]:
    """Reads a file, or a stretch of it, as mono: the mean of the channels, and the rate in Hz.

    The samples are float32, full scale [-1, 1]. The start is exact to the sample; less than
    `seconds` comes back where the file ends. InputError: missing, empty, not audio of its suffix's
    format, truncated (wav, flac, m4a), no samples in the stretch, NaN or infinite, an absurd rate.
    """
    blocks: list[np.ndarray] = []
    rate, count, wanted = 0, 0, None
    for block, rate in iter_audio(path, start_seconds):
        wanted = None if seconds is None else round(seconds * rate)
        blocks.append(block)
        count += len(block)
        if wanted is not None and count >= wanted:
            break
    samples = np.concatenate(blocks)[:wanted] if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise InputError(f"{path}: holds no samples from {start_seconds} s on")
    return samples, rate


def write_wav(
    path: Path | str,
    samples: Float[np.ndarray, " s"],
    sample_rate_hz: int,
    provenance: dict[str, Any] | None,
) -> int:
    """Writes 16-bit PCM mono, whole or not at all; the same arguments give the same bytes. Returns
    how many samples were clipped to [-1, 1]; nothing is rescaled, which would change the level of a
    prompt. The provenance, JSON values, is kept in the file's INFO/ICMT comment."""
    with WavWriter(path, sample_rate_hz, provenance) as wav:
        wav.write(samples)
    return wav.clipped


class WavWriter:
    """`write_wav` piece by piece: a context that leaves the whole file, or none after an error."""

    def __init__(self, path: Path | str, sample_rate_hz: int, provenance: dict[str, Any] | None):
        self.samples = 0  # written so far
        self.clipped = 0  # of these, beyond [-1, 1]
        self._path = Path(path)
        header = struct.pack("<HHIIHH", 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16)
        self._chunks = b"WAVE" + _chunk(b"fmt ", header)
        if provenance is not None:
            comment = json.dumps(provenance, sort_keys=True, separators=(",", ":")).encode() + b"\0"
            self._chunks += _chunk(b"LIST", b"INFO" + _chunk(b"ICMT", comment))

    def __enter__(self) -> "WavWriter":
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(atomic_path(self._path))
            self._file = stack.enter_context(scratch.open("wb"))
            self._write_header()
            self._stack = stack.pop_all()
        return self

    def write(self, samples: Float[np.ndarray, " s"]) -> None:
        """Appends finite samples, nominally in [-1, 1]; InputError beyond 4 GiB in all."""
        samples = np.asarray(samples, np.float64)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise ValueError(f"expected finite samples [s], got shape {samples.shape}")
        self.samples += len(samples)
        if 2 * self.samples + len(self._chunks) + 8 > _UNKNOWN_SIZE:
            raise InputError(f"{self._path}: a wav file holds 4 GiB at most; cut the recording")
        self.clipped += int(np.sum(np.abs(samples) > 1))
        pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
        self._file.write(pcm.tobytes())

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            with self._stack:
                self._file.seek(0)
                self._write_header()  # now that the sizes are known
        else:
            self._stack.__exit__(kind, error, trace)

    def _write_header(self) -> None:
        size = 2 * self.samples
        riff = struct.pack("<4sI", b"RIFF", len(self._chunks) + 8 + size)
        self._file.write(riff + self._chunks + struct.pack("<4sI", b"data", size))


def read_wav_provenance(path: Path | str) -> dict[str, Any] | None:
    """The comment left by `write_wav`; None for a wav file without one."""
    path = Path(path)
    for name, start, size in _wav_chunks(path):
        if name != b"LIST":
            continue
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(size)
        if body[:8] != b"INFOICMT":
            continue
        (length,) = struct.unpack_from("<I", body, 8)
        try:
            value = json.loads(body[12 : 12 + length].rstrip(b"\0"))
        except ValueError:
            continue  # somebody else's comment
        if isinstance(value, dict):
            return value
    return None


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """(container, audio stream) after every check a header allows."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: suffix {suffix!r} is not one of {' '.join(sorted(FORMATS))}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: empty file (0 bytes)")
    if all(byte in b"\t\n\f\r" or 32 <= byte < 127 for byte in head):
        raise InputError(f"{path}: not audio: it is a text file named {suffix}")
    if suffix == ".wav":
        _wav_chunks(path)
    try:
        container = av.open(str(path), format=FORMATS[suffix])
    except (av.FFmpegError, ValueError, UnicodeError) as error:
        raise InputError(f"{path}: not {suffix} audio: {_reason(error)}") from error
    with container:
        if not container.streams.audio:
            raise InputError(f"{path}: holds no audio stream")
        stream = container.streams.audio[0]
        if not _LOWEST_RATE_HZ <= (stream.sample_rate or 0) <= _HIGHEST_RATE_HZ:
            limits = f"{_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ} Hz"
            raise InputError(f"{path}: sample rate {stream.sample_rate} Hz is outside {limits}")
        yield container, stream


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def _mono(frame: av.AudioFrame, path: Path) -> np.ndarray:
    """float32 [n] in [-1, 1] from a decoded frame of any sample format."""
    values: np.ndarray = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / -float(np.iinfo(values.dtype.type).min)
    elif values.dtype.kind != "f":
        raise InputError(f"{path}: sample format {frame.format.name} is not supported")
    # Sums of huge float samples may overflow; the caller reports what is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if len(values) > 1:
            return values.mean(axis=0, dtype=np.float32)
        return values[0].astype(np.float32, copy=False)


def _check_decoded_length(path: Path, demuxer: str, stream: Any, decoded: int) -> None:
    """Formats whose header counts the samples must deliver them (wav is checked by bytes)."""
    if not stream.duration or not (demuxer == "flac" or "mov" in demuxer):
        return
    stated = round(stream.duration * stream.time_base * stream.sample_rate)
    allowed = 0 if demuxer == "flac" else 4096  # m4a: encoder delay
    if decoded < stated - allowed:
        raise InputError(f"{path}: truncated: header says {stated} samples, {decoded} are there")


def _wav_chunks(path: Path) -> list[tuple[bytes, int, int]]:
    """(name, first byte, size) of each chunk, proving that the file is whole."""
    total = path.stat().st_size
    chunks, data_size_64 = [], None
    with path.open("rb") as file:
        riff = file.read(12)
        if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64") or riff[8:] != b"WAVE":
            raise InputError(f"{path}: not a wav file: begins with {riff[:12]!r}")
        (stated,) = struct.unpack("<I", riff[4:8])
        end = stated + 8 if riff[:4] == b"RIFF" and stated != _UNKNOWN_SIZE else total
        # What follows the stated end, such as tags, is no chunk.
        while file.tell() < end and len(header := file.read(8)) == 8:
            name, size = header[:4], struct.unpack("<I", header[4:])[0]
            start = file.tell()
            if name == b"ds64" and size >= 16:
                data_size_64 = struct.unpack("<QQ", file.read(16))[1]
            if name == b"data" and size == _UNKNOWN_SIZE:
                size = total - start if data_size_64 is None else data_size_64
            if start + size > total:
                needs = f"chunk {name!r} needs {size} bytes, {total - start} are there"
                raise InputError(f"{path}: truncated: {needs}")
            chunks.append((name, start, size))
            file.seek(start + size + size % 2)
    if not {b"fmt ", b"data"} <= {name for name, _, _ in chunks}:
        raise InputError(f"{path}: truncated: no 'fmt ' or no 'data' chunk in {total} bytes")
    if end > total + 1:  # a missing pad byte at the very end is common and harmless
        raise InputError(f"{path}: truncated: header says {end} bytes, {total} are there")
    return chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
