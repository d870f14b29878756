"""A performance as a Standard MIDI File: one track, one tick a millisecond."""

import struct
from pathlib import Path

from tools.piano.performance import Performance

_TICKS_A_QUARTER, _MICROSECONDS_A_QUARTER = 500, 500_000
_PROGRAM = 0  # grand piano
_SUSTAIN = 64


def midi_bytes(performance: Performance) -> bytes:
    """Format 0; keys go up before others go down at the same tick."""
    events: list[tuple[int, int, bytes]] = []  # (tick, order, message)
    for key in performance.keys:
        down, up = round(key.onset * 1000), round(key.end * 1000)
        events.append((down, 2, bytes((0x90, key.pitch, key.velocity))))
        events.append((max(up, down + 1), 0, bytes((0x80, key.pitch, 64))))
    for pedal in performance.pedals:
        events.append((round(pedal.seconds * 1000), 1, bytes((0xB0, _SUSTAIN, pedal.value))))
    track = b"\x00\xff\x51\x03" + _MICROSECONDS_A_QUARTER.to_bytes(3, "big")
    track += bytes((0, 0xC0, _PROGRAM))
    before = 0
    for tick, _, message in sorted(events):
        track += _variable_length(tick - before) + message
        before = tick
    track += b"\x00\xff\x2f\x00"
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS_A_QUARTER)
    return head + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(number: int) -> bytes:
    """Seven bits a byte, the highest first; all but the last have the eighth bit."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def write_midi(path: Path, performance: Performance) -> None:
    """The file of `midi_bytes`."""
    path.write_bytes(midi_bytes(performance))
