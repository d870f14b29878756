"""Which bytes of an mp3, Ogg or m4a file are sound: decoders skip the others in silence."""

import dataclasses
import mmap
import zlib
from collections.abc import Callable

from audiolm_jax.audio.kinds import id3_bytes
from audiolm_jax.errors import InputError

_BITRATES = {  # kbit/s by (is MPEG 1, layer); index 0 is free format, 15 is none
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_BITRATES[False, 3] = _BITRATES[False, 2]
_RATES = (44100, 48000, 32000)
_KEY = 0xFFFE0C00  # what all frames of a recording share: sync, version, layer, rate
_IN_STEP = 3  # so many frames in a row are no accident
_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclasses.dataclass
class Sound:
    """The stretches of a file that a decoder shall get."""

    pieces: list[tuple[int, int]]  # (first byte, end)
    notes: list[str]  # damage, a line each
    is_plain: bool  # a decoder may read the file as it is


Scan = Callable[[bytes | mmap.mmap], Sound]


def mpeg_sound(data: bytes | mmap.mmap) -> Sound:
    """The frames of an mp3 file; InputError (without the path) if it has none or ends early."""
    total = _before_tags(data)
    position = _id3_at(data, 0)
    sound = Sound([], [], True)
    frames, key, lost, stated = 0, 0, 0, None
    while position < total:
        size, new_key = mpeg_frame(data, position)
        if size and (new_key == key or _in_step(data, position, total)):
            if position + size > total:
                break
            if not frames:
                stated = _stated_frames(data[position : position + size])
            frames, key = frames + 1, new_key
            _join(sound.pieces, position, position + size)
            position += size
            continue
        if (tag := _id3_at(data, position)) > position:
            key, position, sound.is_plain = 0, min(tag, total), False
            continue
        key, end = 0, _next_frame(data, position, total)
        before_tag = _next_tag(data, position, end)
        if before_tag < end:
            end = before_tag
        elif end == total and frames and _is_cut_frame(data, position, total):
            break
        sound.is_plain = False
        if data[position:end].strip(b"\0"):  # zeros are padding
            where = f"{end - position} bytes from byte {position} on"
            sound.notes.append(f"damaged: {where} are no MPEG frame: left out")
            lost += end - position
        position = end
    if not frames:
        raise InputError("holds no MPEG audio frame; convert it from its source")
    if stated is not None and (missing := stated - (there := frames - 1)):
        counts = f"its header says {stated} frames, {there} are there"
        if missing > 0 and lost < missing * 24:  # the shortest frame
            raise InputError(f"truncated: {counts}; copy the file anew")
        sound.notes.append(counts)
    if position < total:
        sound.is_plain = False
        left = f"{total - position} bytes of it are there"
        sound.notes.append(f"the last frame is cut: {left}: left out")
    if len(data) - total not in (0, 128):
        sound.is_plain = False
    return sound


def mpeg_frame(data: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    """(bytes, what its neighbours share) of the frame at a position, (0, 0) without one."""
    head = int.from_bytes(data[position : position + 4], "big")
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or head >> 10 & 3 == 3:
        return 0, 0
    bitrate = 1000 * _BITRATES[version == 3, layer][head >> 12 & 15]
    rate = _RATES[head >> 10 & 3] // (4, 1, 2, 1)[version]
    if not bitrate:
        return 0, 0
    padding = head >> 9 & 1
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4, head & _KEY
    return (72 if layer == 3 and version != 3 else 144) * bitrate // rate + padding, head & _KEY


def _in_step(data: bytes | mmap.mmap, position: int, total: int) -> bool:
    """Whether frames follow each other from here on, or to the end."""
    keys = set()
    for number in range(_IN_STEP):
        size, key = mpeg_frame(data, position)
        if not size or position + size > total:
            return position == total and number > 0
        keys.add(key)
        position += size
        if len(keys) > 1:
            return False
    return True


def _next_frame(data: bytes | mmap.mmap, position: int, total: int) -> int:
    while 0 <= (position := data.find(b"\xff", position + 1)) < total:
        if _in_step(data, position, total):
            return position
    return total


def _next_tag(data: bytes | mmap.mmap, position: int, end: int) -> int:
    while 0 <= (position := data.find(b"ID3", position + 1, end)):
        if position < _id3_at(data, position) <= end:
            return position
    return end


def _is_cut_frame(data: bytes | mmap.mmap, position: int, total: int) -> bool:
    size, _ = mpeg_frame(data, position)
    return position + 4 > total or position + size > total


def _id3_at(data: bytes | mmap.mmap, position: int) -> int:
    end = position + id3_bytes(data[position : position + 10])
    return end if end <= len(data) else position  # a size that lies


def _before_tags(data: bytes | mmap.mmap) -> int:
    """Where the tags at the end of a file begin: ID3v1, Lyrics3 and APE in any order."""
    end, before = len(data), -1
    while end != before:
        before = end
        if data[max(0, end - 128) : end][:3] == b"TAG" and end >= 128:
            end -= 128
        elif data[end - 32 : end - 24] == b"APETAGEX" and end >= 32:
            size = int.from_bytes(data[end - 20 : end - 16], "little")
            header = 32 if data[end - 9] & 0x80 else 0
            end = max(0, end - size - header)
        elif data[end - 9 : end] == b"LYRICS200" and data[end - 15 : end - 9].isdigit():
            end = max(0, end - 15 - int(data[end - 15 : end - 9]))
    return end


def _stated_frames(frame: bytes) -> int | None:
    """What the first frame says of the number of the others; None if it is one of them."""
    for name in (b"Xing", b"Info"):
        if 0 < (at := frame.find(name, 4, 44)) and frame[at + 7 : at + 8] and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big")
    return None


def ogg_sound(data: bytes | mmap.mmap) -> Sound:
    """The pages of an Ogg file; InputError (without the path) if one is damaged or missing."""
    sound = Sound([], [], True)
    position, total = 0, len(data)
    sequence: dict[bytes, int] = {}
    ended: set[bytes] = set()
    while position < total:
        if data[position : position + 4] != b"OggS":
            end = data.find(b"OggS", position)
            end = total if end < 0 else end
            sound.is_plain = False
            if data[position:end].strip(b"\0"):
                where = f"{end - position} bytes from byte {position} on"
                sound.notes.append(f"damaged: {where} are no Ogg page: left out")
            position = end
            continue
        head = data[position : position + 27]
        table = data[position + 27 : position + 27 + head[26]] if len(head) == 27 else b""
        end = position + 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or end > total:
            raise InputError(
                f"truncated: the Ogg page at byte {position} goes on after the end; copy it anew"
            )
        page = data[position:end]
        if _ogg_checksum(page) != int.from_bytes(head[22:26], "little"):
            raise InputError(
                f"damaged: the Ogg page at byte {position} fails its checksum; copy the file anew"
            )
        serial, number = head[14:18], int.from_bytes(head[18:22], "little")
        if head[5] & 2:
            sequence[serial] = number
        elif sequence.get(serial) != number:
            raise InputError(
                f"damaged: the Ogg page at byte {position} is number {number}, expected "
                f"{sequence.get(serial, 'a first page')}; copy the file anew"
            )
        sequence[serial] = number + 1
        if head[5] & 4:
            ended.add(serial)
        _join(sound.pieces, position, end)
        position = end
    if not sequence:
        raise InputError("not an Ogg file: holds no page; remove it")
    if ended != set(sequence):
        sound.notes.append("no page is marked as the last: cut, or recorded from a stream")
    return sound


def mp4_sound(data: bytes | mmap.mmap) -> Sound:
    """The boxes of an m4a file; InputError (without the path) if one is cut or the index is not
    there."""
    position, total, names = 0, len(data), set()
    while position + 8 <= total:
        name = data[position + 4 : position + 8]
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        size = size or total - position  # 0: to the end
        if not all(32 <= byte < 127 or byte == 169 for byte in name) or size < 8:
            break
        if position + size > total:
            raise InputError(
                f"truncated: box {name!r} needs {size} bytes, {total - position} are there; "
                "copy the file anew"
            )
        names.add(name)
        position += size
    if b"moov" not in names:
        raise InputError("truncated: its index, box 'moov', is not there; copy the file anew")
    left = f"{total - position} bytes from byte {position} on are no box and are not read"
    return Sound([(0, total)], [f"damaged: {left}"] if position < total else [], True)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with the bits of zlib's the other way round, from 0, its own four bytes zero."""
    blank = page[:22] + bytes(4) + page[26:]
    value = zlib.crc32(blank.translate(_BIT_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "big").translate(_BIT_REVERSED), "little")


def _join(pieces: list[tuple[int, int]], start: int, end: int) -> None:
    if pieces and pieces[-1][1] == start:
        pieces[-1] = (pieces[-1][0], end)
    else:
        pieces.append((start, end))
