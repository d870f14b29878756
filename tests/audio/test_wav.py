"""Wav files as pipes, crashes, old programs and long recordings leave them."""

import struct

import numpy as np
import pytest
import soundfile
from support.wav_files import COUNT, PCM, TAGS, rf64, riff

from audiolm_jax.audio.files import iter_audio, probe, read_audio
from audiolm_jax.audio.wav import read_wav
from audiolm_jax.errors import InputError

OPEN = "does not say how long"


def ours(path):
    notes = []
    blocks = [block for block, _ in iter_audio(path, notes=notes)]
    return np.concatenate([np.zeros(0, np.float32), *blocks]), notes


def whole(path, data, note=None, count=COUNT):
    """The file is read to the end of its sound, with the note."""
    path.write_bytes(data)
    samples, notes = ours(path)
    np.testing.assert_array_equal(samples, PCM[:count].astype(np.float32) / 32768)
    assert [note in words for words in notes] == ([] if note is None else [True]), notes
    assert probe(path).seconds == count / 16000


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF])
@pytest.mark.parametrize("total", [0, 36, 0x7FFFF024, 0x80000024, 0xFFFFFFFF, 12345])
def test_sizes_that_pipes_leave(tmp_path, size, total):
    whole(tmp_path / "a.wav", riff(size=size, total=total), OPEN)


def test_a_file_without_sound_is_no_pipe(tmp_path):
    for data in (riff(b""), riff(b"", after=TAGS)):
        (tmp_path / "a.wav").write_bytes(data)
        with pytest.raises(InputError, match="holds no samples"):
            read_audio(tmp_path / "a.wav")


def test_sizes_off_by_one(tmp_path):
    path, size = tmp_path / "a.wav", 2 * COUNT
    whole(path, riff(size=size - 1, after=TAGS), "are read")
    whole(path, riff(size=size + 1, after=TAGS), "are read")
    whole(path, riff(size=size - 1), "are read")
    whole(path, riff(size=size + 1), "are read")
    whole(path, riff(size=size + 1, total=size + 37), "are read")
    whole(path, riff(total=2 * COUNT + 37))
    whole(path, riff(total=0))
    whole(path, riff(total=2 * COUNT + 99), "bytes in all")


def test_data_that_is_not_padded(tmp_path):
    pcm = (PCM >> 8).astype(np.int8).view(np.uint8) ^ 128  # unsigned
    for after in (TAGS, b"\0" + TAGS, b"", b"\0"):
        (tmp_path / "a.wav").write_bytes(riff(pcm.tobytes(), bits=8, after=after))
        samples, notes = ours(tmp_path / "a.wav")
        np.testing.assert_array_equal(samples, (pcm.astype(np.float32) - 128) / 128)
        assert not notes


def test_what_follows_the_data(tmp_path):
    path, junk = tmp_path / "a.wav", b"\x01\x02\x03 no chunk at all"
    whole(path, riff(after=junk), "are no chunk")
    whole(path, riff(after=TAGS + junk), "are no chunk")
    whole(path, riff(after=TAGS[:-4]), "are no chunk")
    whole(path, riff(after=junk, total=36 + 2 * COUNT), "are no chunk")
    whole(path, riff() + PCM.tobytes(), "8002 bytes")  # the header was not kept up to date
    whole(path, riff() + b"TAG" + bytes(125))
    whole(path, riff() + b"ID3 tags and the like")


@pytest.mark.parametrize("missing", [1, 2, 3, 1000])
def test_what_ends_early_is_refused(tmp_path, missing):
    path = tmp_path / "a.wav"
    for data in (riff(), riff(total=0xFFFFFFFF), riff(bits=8), riff(kind=b"RF64")):
        path.write_bytes(data[:-missing])
        with pytest.raises(InputError, match=r"a\.wav: truncated: .*are there; copy the file"):
            read_audio(path)
    (tmp_path / "b.wav").write_bytes(riff()[:40])
    with pytest.raises(InputError, match="no 'data' chunk in 40 bytes"):
        read_audio(tmp_path / "b.wav")


def test_a_whole_file_whose_data_size_lies(tmp_path):
    """The file is as long as its first size says, so that nothing is missing."""
    whole(tmp_path / "a.wav", riff(size=10**6, total=36 + 2 * COUNT), "are read")


def test_64_bit_headers(tmp_path):
    path, size = tmp_path / "a.wav", 2 * COUNT
    for kind in (b"RF64", b"BW64"):
        whole(path, rf64(kind))
        whole(path, rf64(kind, riff_size=92 + size, after=TAGS))
        whole(path, rf64(kind, data_size=0, riff_size=0), OPEN)
        whole(path, rf64(kind, data_size=2**64 - 1, riff_size=2**64 - 1), OPEN)
        path.write_bytes(rf64(kind)[:-2])
        with pytest.raises(InputError, match="truncated"):
            read_audio(path)
    whole(path, riff(size=0xFFFFFFFF, total=0xFFFFFFFF, kind=b"RF64"), OPEN)


def test_wave64(tmp_path):
    path, found = tmp_path / "a.w64", tmp_path / "b.wav"
    soundfile.write(path, PCM, 16000, format="W64")
    data = path.read_bytes()
    at = data.index(b"data") + 16
    for name in (path, found):  # both suffixes are in use
        whole(name, data)
        for size in (0, 2**63, 2**64 - 1):
            whole(
                name, data[:at] + struct.pack("<Q", size) + data[at + 8 : at + 8 + 2 * COUNT], OPEN
            )
    path.write_bytes(data[: at + 1000])
    with pytest.raises(InputError, match="truncated"):
        read_audio(path)


def test_extensible_headers(tmp_path):
    path = tmp_path / "a.wav"
    for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        soundfile.write(path, PCM, 16000, format="WAVEX", subtype=kind)
        samples, notes = ours(path)
        np.testing.assert_allclose(samples, soundfile.read(path)[0], atol=1e-7)
        assert not notes
    data = path.read_bytes()
    at = data.index(b"\x00\x00\x00\x00\x10\x00\x80\x00")
    path.write_bytes(data[:at] + b"\xee" + data[at + 1 :])
    with pytest.raises(InputError, match=r"extensible format .* is unknown"):
        read_audio(path)


def hole(path, header, size, tail):
    """Silence of some GiB that takes no room on the disk, then samples."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
        file.seek(len(header) + size - len(tail))
        file.write(tail)


@pytest.mark.parametrize("kind", ["RF64", "wrapped", "pipe", "W64"])
def test_more_than_4_gib(tmp_path, kind):
    path, size = tmp_path / "a.wav", (1 << 32) + 2_000_000
    if kind == "W64":
        soundfile.write(tmp_path / "b.w64", PCM[:0], 16000, format="W64")
        header = bytearray((tmp_path / "b.w64").read_bytes())
        at = header.index(b"data") + 16
        header[at : at + 8] = struct.pack("<Q", size + 24)
        header[16:24] = struct.pack("<Q", size + len(header))
    else:
        header = {
            "RF64": rf64(data_size=size, riff_size=size + 72, data=b""),
            "wrapped": riff(b"", size=size % 2**32, total=(size + 36) % 2**32),
            "pipe": riff(b"", size=0x7FFFF000, total=0x7FFFF024),
        }[kind]
    hole(path, header, size, PCM.tobytes())
    wav = read_wav(path)
    assert wav.size == size
    assert len(wav.notes) == (kind in ("wrapped", "pipe"))
    start = (size // 2 - COUNT) / 16000
    samples, _ = read_audio(path, start)
    np.testing.assert_array_equal(samples, PCM.astype(np.float32) / 32768)
    assert probe(path).seconds == size / 2 / 16000


def test_headers_that_make_no_sense(tmp_path):
    good = riff()
    for change, reason in (
        ((22, b"\0\0"), "0 channels"),
        ((32, b"\3\0"), "3 bytes for 1 samples of 16 bits"),
        ((24, struct.pack("<I", 3)), "sample rate 3 Hz is outside 4000"),
        ((20, b"\x99\x99"), "not .wav audio that FFmpeg knows"),
        ((12, b"\1\2\3\4"), "no chunk begins at byte 12"),
        ((16, b"\2\0\0\0"), "damaged"),
    ):
        at, value = change
        (tmp_path / "a.wav").write_bytes(good[:at] + value + good[at + len(value) :])
        with pytest.raises(InputError, match=reason):
            read_audio(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes(riff(after=b"data" + struct.pack("<I", 8) + bytes(8)))
    with pytest.raises(InputError, match="two 'data' chunks"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("coded", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32", "ALAW", "ULAW"])
def test_stretches_of_coded_sound_are_those_of_the_whole(tmp_path, coded):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.cumsum(PCM) % 9000 / 18000, 8000, format="WAV", subtype=coded)
    everything = ours(path)[0]
    reference = soundfile.read(path)[0]
    if coded != "G721_32":  # FFmpeg's own arithmetic, and its rounding of MS ADPCM
        atol = 1e-3 if coded == "MS_ADPCM" else 1e-6
        np.testing.assert_allclose(everything, reference[: len(everything)], atol=atol)
    assert len(everything) >= COUNT
    for start, count in ((1, 10), (319, 3), (505, 1500), (2020, 7), (3999, 2)):
        samples, _ = read_audio(path, start / 8000, count / 8000)
        np.testing.assert_array_equal(samples, everything[start : start + count])


def test_coded_sound_with_a_lying_header(tmp_path):
    for container, name in (("WAV", "a.wav"), ("W64", "a.w64")):
        path = tmp_path / name
        soundfile.write(path, PCM, 8000, format=container, subtype="IMA_ADPCM")
        data, good = path.read_bytes(), ours(path)[0]
        at = data.index(b"data") + (16 if container == "W64" else 4)
        path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
        samples, (note,) = ours(path)
        np.testing.assert_array_equal(samples, good)
        assert OPEN in note
        path.write_bytes(data[:-300])
        with pytest.raises(InputError, match="truncated"):
            read_audio(path)


def test_a_lie_is_logged_once(tmp_path, caplog):
    (tmp_path / "a.wav").write_bytes(riff(size=0, total=0))
    read_audio(tmp_path / "a.wav", seconds=0.1)
    read_audio(tmp_path / "a.wav")
    assert [f"{tmp_path}/a.wav: the header" in r.message for r in caplog.records] == [True]
