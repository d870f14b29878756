"""Reading and writing audio files, with errors that name the file and the reason.

Plain wav files are read by `audio.wav`, all others through PyAV, whose wheels carry FFmpeg. The
container format is forced by the suffix and never guessed from the content: a playlist named .mp3
must not make FFmpeg open other files. What decoders skip in silence is found beforehand and told.
"""

import contextlib
import dataclasses
import functools
import io
import json
import logging
import mmap
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.at_hand import at_hand
from audiolm_jax.audio.frames import Scan, mp4_sound, mpeg_sound, ogg_sound
from audiolm_jax.audio.kinds import mislabelled
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.wav import UNKNOWN_SIZE, Wav, read_wav
from audiolm_jax.errors import InputError

# Suffix -> FFmpeg demuxer.
FORMATS = {".wav": "wav", ".flac": "flac", ".mp3": "mp3", ".ogg": "ogg", ".opus": "ogg"}
FORMATS |= {".m4a": "mov", ".g722": "g722", ".w64": "w64"}
_SCANS: dict[str, Scan] = {"mp3": mpeg_sound, "ogg": ogg_sound, "mov": mp4_sound}
# A hostile or broken header must not turn a small file into gigabytes when it is resampled.
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 4_000, 768_000
# FFmpeg otherwise decodes FLAC frames that fail their checksum.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; only decoding counts the samples of a compressed file exactly."""

    sample_rate_hz: int
    channels: int
    codec: str  # FFmpeg's name, such as pcm_s16le
    seconds: float | None  # None where the format does not say


def probe(path: Path | str) -> AudioInfo:
    """Reads the header only, and proves that a wav file is whole; InputError if it is no audio."""
    with at_hand(at(path)) as copy:
        return _probe(copy)


def _probe(path: Path) -> AudioInfo:
    if (wav := _plain_wav(path)) is not None:
        seconds: float | None = wav.samples / wav.sample_rate_hz
        return AudioInfo(wav.sample_rate_hz, wav.channels, wav.codec, seconds)
    with open_sound(path, []) as (container, stream):
        seconds = float(stream.duration * stream.time_base) if stream.duration else None
        if container.format.name == "g722":  # headerless: 4 bits a sample
            seconds = path.stat().st_size * 2 / stream.sample_rate
        codec = stream.codec_context.codec.name
        return AudioInfo(stream.sample_rate, stream.channels, codec, seconds)


def iter_audio(
    path: Path | str, start_seconds: float = 0.0, notes: list[str] | None = None
) -> Iterator[tuple[Float[np.ndarray, " n"], int]]:
    """`read_audio` block by block; some of its errors show only after the last block. `notes` gets
    a line for each lie of a header and each damaged stretch that was left out; None logs them."""
    path = at(path)
    found: list[str] = []
    try:
        with at_hand(path) as copy:
            if (wav := _plain_wav(copy)) is not None:
                found += wav.notes
                blocks = _wav_blocks(wav, start_seconds)
            else:
                blocks = _decoded_blocks(copy, start_seconds, found)
            for block, rate in blocks:
                if not np.isfinite(block).all():
                    raise InputError(
                        f"{shown(copy)}: contains NaN or infinite samples, expected finite ones; "
                        "remove it or save it again as 16-bit audio"
                    )
                if len(block):
                    yield block, rate
    finally:  # also of a reader that stops early
        if notes is not None:
            notes += found
        else:
            for note in found:
                _warn(f"{shown(path)}: {note}")


def _wav_blocks(wav: Wav, start_seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    for values in wav.blocks(round(start_seconds * wav.sample_rate_hz)):
        yield mono(values.T), wav.sample_rate_hz


def _decoded_blocks(
    path: Path, start_seconds: float, notes: list[str], can_seek: bool = True
) -> Iterator[tuple[np.ndarray, int]]:
    """Through FFmpeg. FLAC alone lands on the sample it is asked for: block-coded sound, delays and
    padding make all others decode from the start."""
    with open_sound(path, notes) as (container, stream):
        rate = stream.sample_rate
        skip = round(start_seconds * rate)
        is_flac = container.format.name == "flac"
        if seeks := bool(skip) and is_flac and can_seek:
            try:
                container.seek(round(skip / rate / stream.time_base), stream=stream)
            except av.FFmpegError:  # in some files of few frames, which are then lost to it
                yield from _decoded_blocks(path, start_seconds, notes, can_seek=False)
                return
        position: int | None = None if seeks else 0  # sample index of the next frame
        try:
            for packet in container.demux(stream):
                for frame in packet.decode():
                    if frame.sample_rate != rate:
                        raise InputError(
                            f"{shown(path)}: the sample rate changes from {rate} to "
                            f"{frame.sample_rate} Hz, expected one; cut it into two files"
                        )
                    if is_flac:  # whose frames say where they belong
                        at = -1 if frame.pts is None else round(frame.pts * frame.time_base * rate)
                        position = min(at, skip) if position is None else position
                        if at != position:
                            then = "a frame of no place" if at < 0 else f"sample {at}"
                            raise InputError(
                                f"{shown(path)}: damaged: sample {position} is followed by {then}; "
                                "copy the file anew"
                            )
                    position = position or 0
                    block = mono(_values(frame, path))
                    position += len(block)
                    yield block[max(0, len(block) - max(0, position - skip)) :], rate
        except (av.FFmpegError, ValueError, OSError) as error:
            if isinstance(error, InputError) or is_shortage(error):
                raise
            what = "damaged" if _goes_on(container, stream) else "truncated"
            raise InputError(
                f"{shown(path)}: {what}: decoding failed after {(position or 0) / rate:.3f} s: "
                f"{_reason(error)}; copy the file anew, or convert what can be read to flac"
            ) from error
        _check_decoded_length(path, container.format.name, stream, position or 0)


@functools.lru_cache(4096)
def _warn(message: str) -> None:
    """Logs a warning once, however often a file is read."""
    logger.warning(message)


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
        raise InputError(f"{shown(path)}: holds no samples from {start_seconds} s on")
    return samples, rate


def write_wav(
    path: Path | str,
    samples: Float[np.ndarray, " s"],
    sample_rate_hz: int,
    provenance: dict[str, Any] | None,
) -> int:
    """Writes 16-bit PCM mono, whole or not at all; the same arguments give the same bytes. Returns
    how many samples were clipped to [-1, 1]; nothing is rescaled, which would change the level of a
    prompt. The provenance, JSON values, is kept in the file's INFO/ICMT comment, its "software" in
    INFO/ISFT too."""
    with WavWriter(path, sample_rate_hz, provenance) as wav:
        wav.write(samples)
    return wav.clipped


class WavWriter:
    """`write_wav` piece by piece: a context that leaves the whole file, or none after an error."""

    def __init__(self, path: Path | str, sample_rate_hz: int, provenance: dict[str, Any] | None):
        self.samples = 0  # written so far
        self.clipped = 0  # of these, beyond [-1, 1]
        self._path = at(path)
        header = struct.pack("<HHIIHH", 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16)
        self._chunks = b"WAVE" + _chunk(b"fmt ", header)
        if provenance is not None:
            fields = _chunk(b"ICMT", comment_of(provenance).encode() + b"\0")
            if isinstance(software := provenance.get("software"), str):
                fields += _chunk(b"ISFT", software.encode() + b"\0")
            self._chunks += _chunk(b"LIST", b"INFO" + fields)

    def __enter__(self) -> "WavWriter":
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(atomic_path(self._path))
            self._file = stack.enter_context(scratch.open("wb"))
            self._write_header()
            self._stack = stack.pop_all()
        return self

    def write(self, samples: Float[np.ndarray, " s"]) -> None:
        """Appends finite samples, nominally in [-1, 1]; InputError beyond 4 GiB in all."""
        pcm, clipped = pcm16(samples)
        if 2 * (self.samples + len(pcm)) + len(self._chunks) + 8 > UNKNOWN_SIZE:
            raise InputError(
                f"{shown(self._path)}: a wav file holds 4 GiB at most; cut the recording"
            )
        self._file.write(pcm.tobytes())
        self.clipped += clipped
        self.samples += len(pcm)  # at last: a piece that Ctrl-C cuts does not count

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            with self._stack:
                self._file.truncate(8 + len(self._chunks) + 8 + 2 * self.samples)
                self._file.seek(0)
                self._write_header()  # now that the sizes are known
        else:
            self._stack.__exit__(kind, error, trace)

    def _write_header(self) -> None:
        size = 2 * self.samples
        riff = struct.pack("<4sI", b"RIFF", len(self._chunks) + 8 + size)
        self._file.write(riff + self._chunks + struct.pack("<4sI", b"data", size))


def pcm16(samples: Float[np.ndarray, " s"]) -> tuple[Int[np.ndarray, " s"], int]:
    """Little-endian int16 of finite samples, and how many were beyond [-1, 1]."""
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"expected finite samples [s], got shape {samples.shape}")
    pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
    return pcm, int(np.sum(np.abs(samples) > 1))


def comment_of(provenance: dict[str, Any]) -> str:
    """JSON of what made a file, as it stands in its comment."""
    return json.dumps(provenance, sort_keys=True, separators=(",", ":"))


def _check_head(path: Path) -> None:
    """InputError unless a file can be read and its first bytes may be what its suffix says."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        known = " ".join(sorted(FORMATS))
        raise InputError(f"{shown(path)}: suffix {suffix!r} is not one of {known}; convert it")
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode):
            kind = "folder" if stat.S_ISDIR(mode) else "pipe or device"
            raise InputError(f"{shown(path)}: is a {kind}, expected a file")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        if is_shortage(error):
            raise
        raise InputError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{shown(path)}: empty file (0 bytes), expected {suffix} audio; remove it")
    if (words := mislabelled(head, suffix)) is not None:
        raise InputError(f"{shown(path)}: {words}")


def _plain_wav(path: Path) -> Wav | None:
    """The layout of a file whose samples need no decoder."""
    _check_head(path)
    if path.suffix.lower() not in (".wav", ".w64"):
        return None
    wav = read_wav(path)
    check_rate(shown(path), wav.sample_rate_hz)
    return wav if wav.codec else None


def check_rate(name: str, rate: int) -> None:
    """InputError, with the name of what has it, for a rate in Hz that is not taken for sound."""
    if not _LOWEST_RATE_HZ <= (rate or 0) <= _HIGHEST_RATE_HZ:
        limits = f"{_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ} Hz"
        raise InputError(f"{name}: sample rate {rate} Hz is outside {limits}; resample it")


@contextlib.contextmanager
def open_sound(path: Path, notes: list[str]) -> Iterator[tuple[Any, Any]]:
    """(container, audio stream) of a checked file after every check a header allows."""
    suffix = path.suffix.lower()
    demuxer, source = FORMATS[suffix], None
    if suffix in (".wav", ".w64"):
        wav = read_wav(path)
        demuxer = "wav"
        source = wav.mended() if wav.notes or wav.kind != b"RIFF" else None
        notes += wav.notes
    elif (scan := _SCANS.get(demuxer)) is not None:
        source = _sound(path, scan, notes)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source or path.open("rb"))  # PyAV takes no name but UTF-8
        try:
            container = stack.enter_context(av.open(file, format=demuxer))
        except (av.FFmpegError, ValueError, OSError) as error:
            raise InputError(
                f"{shown(path)}: not {suffix} audio: {_reason(error)}; convert it from its source"
            ) from error
        if not container.streams.audio:
            raise InputError(f"{shown(path)}: holds no audio stream; remove it")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise InputError(f"{shown(path)}: not {suffix} audio that FFmpeg knows; convert it")
        check_rate(shown(path), stream.sample_rate)
        if demuxer == "flac":
            stream.codec_context.options = _STRICT
        yield container, stream


def _sound(path: Path, scan: Scan, notes: list[str]) -> io.BytesIO | None:
    """A copy in memory of the sound alone; None if FFmpeg can read the file itself."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            sound = scan(data)
        except InputError as error:
            raise InputError(f"{shown(path)}: {error}") from error
        notes += sound.notes
        if sound.is_plain:
            return None
        return io.BytesIO(b"".join(data[start:end] for start, end in sound.pieces))


def _goes_on(container: Any, stream: Any) -> bool:
    try:
        return any(packet.size for packet in container.demux(stream))
    except (av.FFmpegError, ValueError, OSError):
        return True


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def _values(frame: av.AudioFrame, path: Path) -> np.ndarray:
    """Samples [c, n] of a decoded frame of any sample format."""
    values: np.ndarray = frame.to_ndarray()
    if values.dtype.kind not in "iuf":
        name = frame.format.name
        raise InputError(f"{shown(path)}: sample format {name} is not supported; convert it")
    return values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T


def mono(values: np.ndarray) -> np.ndarray:
    """float32 [n] in [-1, 1] from samples [c, n] of any type."""
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / -float(np.iinfo(values.dtype.type).min)
    # Sums of huge float samples may overflow; the caller reports what is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if len(values) > 1:
            return values.mean(axis=0, dtype=np.float32)
        return values[0].astype(np.float32, copy=False)


def _check_decoded_length(path: Path, demuxer: str, stream: Any, decoded: int) -> None:
    """Formats whose header counts the samples must deliver them."""
    if not stream.duration or not (demuxer == "flac" or "mov" in demuxer):
        return
    stated = round(stream.duration * stream.time_base * stream.sample_rate)
    allowed = 0 if demuxer == "flac" else 4096  # m4a: encoder delay
    if decoded < stated - allowed:
        raise InputError(
            f"{shown(path)}: truncated: its header says {stated} samples, {decoded} are there; "
            "copy the file anew"
        )


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
