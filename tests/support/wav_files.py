"""Wav files with headers as pipes, crashes and old programs leave them."""

import struct

import numpy as np

COUNT = 4001
PCM = (np.random.default_rng(0).integers(-30000, 30000, COUNT) | 1).astype("<i2")
TAGS = b"LIST" + struct.pack("<I", 12) + b"INFOISFT\0\0\0\0"


def riff(data=None, size=None, after=b"", total=None, bits=16, tag=1, kind=b"RIFF", before=b""):
    data = PCM.tobytes() if data is None else data
    width = (bits + 7) // 8
    form = struct.pack("<HHIIHH", tag, 1, 16000, 16000 * width, width, bits)
    size = len(data) if size is None else size
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", 16) + form
    body += b"data" + struct.pack("<I", size) + data + after
    return kind + struct.pack("<I", len(body) if total is None else total) + body


def ds64(riff_size, data_size):
    return b"ds64" + struct.pack("<IQQQI", 28, riff_size, data_size, COUNT, 0)


def rf64(kind=b"RF64", data_size=2 * COUNT, riff_size=72 + 2 * COUNT, data=None, after=b""):
    return riff(data, 0xFFFFFFFF, after, 0xFFFFFFFF, 16, 1, kind, ds64(riff_size, data_size))
