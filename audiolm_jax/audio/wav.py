"""Wav files as they are found: RIFF, RF64, BW64 and Wave64, whatever their headers claim.

The bytes decide: sizes that a pipe, a crash or an overflow left in the header are replaced by what
is there, with a note; samples that the header promises and the file lacks are an error.
"""

import dataclasses
import functools
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from audiolm_jax.artifacts.storage import at
from audiolm_jax.audio.at_hand import at_hand
from audiolm_jax.audio.names import shown
from audiolm_jax.errors import InputError

UNKNOWN_SIZE = 0xFFFFFFFF
_BLOCK_BYTES = 1 << 15
# The ends of the GUIDs of WAVE_FORMAT_EXTENSIBLE, after the tag: Microsoft's and of ambisonics.
_GUIDS = ("000000001000800000aa00389b71", "00002107d3118644c8c1ca000000")
_W64_GUID = {"riff": "2e91cf11a5d628db04c10000"}
_W64_OTHER = "f3acd3118cd100c04f8edb8a"
_INTEGERS = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le", 64: "pcm_s64le"}
_FLOATS = {32: "pcm_f32le", 64: "pcm_f64le"}


@dataclasses.dataclass(frozen=True)
class Wav:
    """Where the samples of a wav file lie and how they are written."""

    path: Path
    kind: bytes  # RIFF, RF64, BW64 or riff (Wave64)
    codec: str  # FFmpeg's name of plain samples; "" if FFmpeg has to decode them
    channels: int
    sample_rate_hz: int
    block_bytes: int  # of one sample of all channels, or of a block of coded sound
    start: int  # first byte of the data
    size: int  # bytes of the data, as found
    chunks: tuple[tuple[bytes, int, int], ...]  # (name, first byte, size) of the others
    notes: tuple[str, ...]  # lies of the header, a line each

    @property
    def samples(self) -> int:
        """Of each channel; of plain samples only."""
        return self.size // self.block_bytes

    def blocks(self, first: int) -> Iterator[Shaped[np.ndarray, "n c"]]:
        """Plain samples from one on: int32 with the full range, uint8, int16, int64 or floats."""
        block = max(1, _BLOCK_BYTES // self.block_bytes)
        with self.path.open("rb") as file:
            file.seek(self.start + first * self.block_bytes)
            for position in range(first, self.samples, block):
                wanted = min(block, self.samples - position) * self.block_bytes
                data = file.read(wanted)
                if len(data) < wanted:
                    raise InputError(f"{shown(self.path)}: became shorter while it was read")
                yield _values(data, self.codec).reshape(-1, self.channels)

    def mended(self) -> io.BytesIO:
        """The file with true sizes, for a decoder that believes them."""
        _, start, size = next(chunk for chunk in self.chunks if chunk[0] == b"fmt ")
        with self.path.open("rb") as file:
            file.seek(start)
            header = b"WAVEfmt " + struct.pack("<I", size) + file.read(size) + b"\0" * (size % 2)
            file.seek(self.start)
            body = header + b"data" + struct.pack("<I", self.size) + file.read(self.size)
        return io.BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def _values(data: bytes, codec: str) -> np.ndarray:
    if codec == "pcm_s24le":
        values = np.zeros((len(data) // 3, 4), np.uint8)
        values[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return values.view("<i4")[:, 0]
    if codec in ("pcm_alaw", "pcm_mulaw"):
        return _companded(codec)[np.frombuffer(data, np.uint8)]
    return np.frombuffer(data, f"<{codec[4]}{int(codec[5:].rstrip('le')) // 8}".replace("s", "i"))


@functools.cache
def _companded(codec: str) -> np.ndarray:
    """int16 of each byte (ITU-T G.711)."""
    byte = np.arange(256, dtype=np.int32) ^ (0x55 if codec == "pcm_alaw" else 0xFF)
    exponent, mantissa = byte >> 4 & 7, byte & 15
    if codec == "pcm_alaw":
        size = (2 * mantissa + 1 + 32 * (exponent > 0)) << np.maximum(exponent - 1, 0) + 3
        return np.where(byte & 128, size, -size).astype(np.int16)
    size = ((2 * mantissa + 33) << exponent + 2) - 132
    return np.where(byte & 128, -size, size).astype(np.int16)


def read_wav(path: Path) -> Wav:
    """The layout of a wav file; InputError if it is none, or ends before its samples do."""
    with path.open("rb") as file:
        return _Reader(path, file).wav()


def read_wav_provenance(path: Path | str) -> dict[str, Any] | None:
    """The comment left by `files.write_wav`; None for a wav file without one."""
    with at_hand(at(path)) as copy, copy.open("rb") as file:
        for name, start, size in _Reader(copy, file).wav().chunks:
            file.seek(start)
            body = file.read(size) if name == b"LIST" else b""
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


class _Reader:
    """Walks the chunks of one file."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file = path, file
        self.total = file.seek(0, io.SEEK_END)
        head = self.at(0, 40)
        self.kind, self.is_wide = head[:4], False
        if head[:16] == _guid(b"riff") and head[24:40] == _guid(b"wave"):
            self.is_wide, self.first, stated = True, 40, int.from_bytes(head[16:24], "little")
            self.end: int | None = stated
        elif len(head) >= 12 and self.kind in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            self.first, self.end = 12, int.from_bytes(head[4:8], "little") + 8
        else:
            self.fail(f"not a wav file: begins with {head[:12]!r}, expected RIFF and WAVE")
        self.data_64: int | None = None
        self.notes: list[str] = []

    def fail(self, reason: str) -> None:
        raise InputError(f"{shown(self.path)}: {reason}")

    def at(self, position: int, size: int) -> bytes:
        self.file.seek(position)
        return self.file.read(size)

    def header(self, position: int) -> tuple[bytes, int, int] | None:
        """(name, first byte, size) of the chunk at a position; None if there is none."""
        length = 24 if self.is_wide else 8
        data = self.at(position, length)
        if len(data) < length or not all(32 <= byte < 127 for byte in data[:4]):
            return None
        if self.is_wide and data[:16] != _guid(data[:4]):
            return None
        size = int.from_bytes(data[length - (8 if self.is_wide else 4) :], "little")
        return data[:4], position + length, size - (24 if self.is_wide else 0)

    def after(self, end: int) -> int:
        return end + -end % 8 if self.is_wide else end + end % 2

    def chain(self, position: int) -> tuple[list[tuple[bytes, int, int]], int] | None:
        """Whole chunks from a position to the end that the header names, or of the file; and
        where they end."""
        found = []
        while position not in (self.end, self.total) and position < self.total:
            chunk = self.header(position)
            if chunk is None or chunk[2] < 0 or chunk[1] + chunk[2] > self.total:
                return None
            found.append(chunk)
            position = self.after(chunk[1] + chunk[2])
        return found, position

    def wav(self) -> Wav:
        position, chunks = self.first, []
        while (chunk := self.header(position)) is not None and chunk[0] != b"data":
            name, start, size = chunk
            if size < 0 or start + size > self.total:
                self.fail(
                    f"truncated: chunk {name!r} needs {size} bytes, {self.total - start} are "
                    "there; copy the file anew"
                )
            if name == b"ds64" and size >= 16:
                riff, self.data_64 = struct.unpack("<QQ", self.at(start, 16))
                self.end = riff + 8
            chunks.append(chunk)
            position = self.after(start + size)
        formats = [chunk for chunk in chunks if chunk[0] == b"fmt "]
        if chunk is None and self.at(position, 8)[7:]:
            self.fail(f"damaged: no chunk begins at byte {position}, expected 'fmt ' and 'data'")
        if chunk is None or not formats:
            self.fail(
                f"truncated: no 'fmt ' or no 'data' chunk in {self.total} bytes; copy the file anew"
            )
        assert chunk is not None
        tag, channels, rate, block, bits = self.format(*formats[0][1:])
        codec = self.plain(tag, channels, block, bits)
        start, size = chunk[1:]
        if self.kind in (b"RF64", b"BW64") and self.data_64 is not None:
            size = self.data_64
        elif self.kind != b"RIFF" and size == UNKNOWN_SIZE:
            self.end = None
        size, others = self.data(start, size, block)
        if any(name == b"data" for name, _, _ in others):
            self.fail("two 'data' chunks: expected one; convert it to flac or to a plain wav file")
        if (
            self.end is not None
            and self.end > self.total + 1
            and not _is_placeholder(self.end - 8)
            and not self.notes
        ):
            self.notes.append(f"the header says {self.end} bytes in all, {self.total} are there")
        is_blocks = codec or tag in (0x02, 0x11, 0x31)  # plain, MS and IMA ADPCM, GSM
        if is_blocks and (left := size % block):
            self.notes.append(f"the last {left} bytes of the data are no whole sample or block")
        return Wav(self.path, self.kind, codec, channels, rate, block, start, size,
                   (*chunks, *others), tuple(self.notes))  # fmt: skip

    def format(self, start: int, size: int) -> tuple[int, int, int, int, int]:
        """(tag, channels, rate, bytes of a block, bits) of a "fmt " chunk."""
        body = self.at(start, min(size, 40))
        if len(body) < 16:
            self.fail(f"damaged: the 'fmt ' chunk has {len(body)} bytes, expected 16 or more")
        tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", body[:16])
        if tag == 0xFFFE:
            guid = body[26:40].hex()
            if guid not in _GUIDS:
                self.fail(f"extensible format {body[24:40].hex()} is unknown; convert it to flac")
            tag = int.from_bytes(body[24:26], "little")
        if not channels or not block:
            self.fail(f"damaged: the header says {channels} channels, {block} bytes a sample")
        return tag, channels, rate, block, bits

    def plain(self, tag: int, channels: int, block: int, bits: int) -> str:
        codec = {6: "pcm_alaw", 7: "pcm_mulaw"}.get(tag, "")
        width = 8 if codec else 8 * ((bits + 7) // 8)
        if tag in (1, 3):
            codec = (_INTEGERS if tag == 1 else _FLOATS).get(width, "")
        if codec and block != channels * width // 8:
            self.fail(
                f"damaged: the header says {block} bytes for {channels} samples of {bits} bits; "
                "convert it to flac with the program that made it"
            )
        return codec

    def data(self, start: int, size: int, block: int) -> tuple[int, list[tuple[bytes, int, int]]]:
        """Bytes of the data that are there, and the chunks behind them."""
        there = self.total - start
        is_open = _is_placeholder(size) or self.end is None
        if size == 0 < there:  # a recorder that never came back to its header, or no sound
            is_open = is_open or (chain := self.chain(start)) is None or chain[1] < self.total
        if 0 <= size <= there and (size or not is_open):
            padded = self.after(start + size) - start
            pad = self.at(start + size, padded - size)
            longer = size + len(pad) - (size + len(pad)) % block
            is_odd = block > 1 and (size + 1) % block == 0
            if longer < size or not (pad.strip(b"\0") or is_odd):
                longer = size  # else it is sound that fills up the chunk
            ends = [(padded, longer), (size, size)]
            ends += [(size - 1, size - 1), (size + 1, size)] if size else []
            for wraps in range(1, 1 + ((there - size) >> 32)):  # of a counter of 32 bits
                ends.insert(0, (padded + (wraps << 32), size + (wraps << 32)))
            for end, real in ends:
                chain = self.chain(start + end)
                if chain is not None and not (is_open and chain[1] < self.total):
                    self.note_trailing(chain[1])
                    if real != size:
                        self.notes.append(_differs(size, real))
                    return real, chain[0]
            if is_open:
                self.notes.append(_OPEN)
                return there, []
            self.note_trailing(start + padded)
            return size, []
        is_whole = self.end in (self.total - 1, self.total)
        is_off_by_one = size - there == 1 and size % block and not there % block
        if not (is_open or is_whole or is_off_by_one):
            self.fail(
                f"truncated: the header says {size} bytes of data, {there} are there; copy the "
                "file anew, or save what is there with another program"
            )
        self.notes.append(_OPEN if is_open else _differs(size, there))
        return there, []

    def note_trailing(self, position: int) -> None:
        left = self.total - position
        if left > 1 and self.at(position, 3) not in (b"ID3", b"TAG", b"APE"):
            where = f"{left} bytes from byte {position} on"
            self.notes.append(f"after the data, {where} are no chunk and are not read")


_OPEN = "the header does not say how long the data is: read to the end of the file"


def _differs(stated: int, there: int) -> str:
    return f"the header says {stated} bytes of data, {there} are there and are read"


def _is_placeholder(size: int) -> bool:
    """What writers leave in the size of the data when they cannot go back to it."""
    is_32_bit = 0x7FFFF000 <= size <= 0x80000040 or 0xFFFFF000 <= size <= UNKNOWN_SIZE
    return is_32_bit or size < 0 or size >= 1 << 62


def _guid(name: bytes) -> bytes:
    """A Wave64 chunk's name: four letters and a fixed rest."""
    return name + bytes.fromhex(_W64_GUID.get(name.decode("latin-1"), _W64_OTHER))
