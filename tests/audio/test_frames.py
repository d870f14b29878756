"""Mp3, Ogg, FLAC and m4a: all of the sound is read, or the file is named; never a part."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile
from support.audio_files import encoded, frames_of

from audiolm_jax.audio.files import iter_audio, read_audio
from audiolm_jax.audio.frames import mpeg_frame, ogg_sound
from audiolm_jax.errors import InputError

SAMPLES = (0.2 * np.random.default_rng(0).normal(0, 1, 24000)).clip(-1, 1).astype(np.float32)
JUNK = np.random.default_rng(1).bytes(3000)


@pytest.fixture(scope="module")
def mp3():
    return encoded("mp3", "libmp3lame", SAMPLES, 16000)


@pytest.fixture(scope="module")
def ogg():
    file = io.BytesIO()
    soundfile.write(file, np.tile(SAMPLES, 8), 16000, format="OGG", subtype="VORBIS")
    return file.getvalue()


def put(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def ours(path):
    notes = []
    blocks = [block for block, _ in iter_audio(path, notes=notes)]
    return np.concatenate(blocks), notes


def test_mp3_with_junk_around_its_frames_is_the_same_sound(tmp_path, mp3):
    good, notes = ours(put(tmp_path, "a.mp3", mp3))
    assert len(good) == len(SAMPLES)
    assert not notes
    middle = frames_of(mp3)[7]
    for data, at in (
        (JUNK + mp3, 0),
        (mp3[:middle] + JUNK + mp3[middle:], middle),
        (mp3 + JUNK, len(mp3)),
        (mp3 + b"text at the end " * 90, len(mp3)),
        (b"ID3 is no tag\xf0 " * 90 + mp3, 0),
        (b"ID3\3\0\0\x7f\x7f\x7f\x7f and its size lies" + mp3, 0),
    ):
        samples, (note,) = ours(put(tmp_path, "b.mp3", data))
        np.testing.assert_array_equal(samples, good)
        assert f"damaged: {len(data) - len(mp3)} bytes from byte {at} on" in note


def test_tags_and_padding_of_mp3_are_no_damage(tmp_path, mp3):
    good, _ = ours(put(tmp_path, "a.mp3", mp3))
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 40, 1, 1 << 31) + bytes(8)
    ape = ape + bytes(40) + ape
    id3 = b"TAG" + b"a" * 125
    lyrics = b"LYRICSBEGIN" + b"la" * 30 + b"000071LYRICS200"
    first = frames_of(mp3)[0]
    padded = mp3[:first] + bytes(700) + mp3[first:]
    two_tags = b"ID3\3\0\0\0\0\2\0" + bytes(256) + mp3
    at_the_end = (mp3 + id3, mp3 + ape, mp3 + ape + lyrics + id3, mp3 + bytes(99))
    for data in (*at_the_end, bytes(5000) + mp3, padded, two_tags):
        samples, notes = ours(put(tmp_path, "b.mp3", data))
        np.testing.assert_array_equal(samples, good)
        assert not notes


def test_mp3_that_ends_early(tmp_path, mp3):
    starts = frames_of(mp3)
    for cut in (starts[-1], starts[-1] + 20, starts[5], starts[5] + 3):
        with pytest.raises(
            InputError, match=r"truncated: its header says \d+ frames, \d+ are there"
        ):
            read_audio(put(tmp_path, "a.mp3", mp3[:cut]))
    bare = mp3[starts[1] :]  # no header frame that counts them
    assert not ours(put(tmp_path, "a.mp3", bare))[1]
    samples, (note,) = ours(put(tmp_path, "a.mp3", bare[: starts[9] - starts[1] + 20]))
    assert "the last frame is cut: 20 bytes" in note
    assert len(samples) >= 8 * 576 - 1105
    with pytest.raises(InputError, match="no MPEG audio frame"):
        read_audio(put(tmp_path, "a.mp3", JUNK))


def test_two_mp3_files_in_one(tmp_path, mp3):
    one, _ = ours(put(tmp_path, "a.mp3", mp3))
    both, notes = ours(put(tmp_path, "a.mp3", mp3 + mp3))
    assert len(both) >= 2 * len(one)
    assert any("its header says" in note for note in notes)
    np.testing.assert_array_equal(both[: len(one) - 2000], one[:-2000])


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("version", [0, 2, 3])  # MPEG 2.5, 2 and 1
def test_every_frame_has_the_length_that_ffmpeg_gives_it(layer, version):
    for rate in range(3):
        heads = [
            0x7FF << 21 | version << 19 | (4 - layer) << 17 | 1 << 16 | bits << 12 | rate << 10
            | padding << 9
            for bits in range(1, 15) for padding in range(2)
        ]  # fmt: skip
        frames = [head.to_bytes(4, "big") for head in heads]
        data = b"".join(frame + bytes(mpeg_frame(frame, 0)[0] - 4) for frame in frames)
        with av.open(io.BytesIO(data), format="mp3") as container:
            sizes = [packet.size for packet in container.demux() if packet.size]
        assert sizes == [mpeg_frame(frame, 0)[0] for frame in frames]


def pages_of(ogg):
    starts = [n for n in range(len(ogg)) if ogg.startswith(b"OggS\0", n)]
    return [ogg[start:end] for start, end in zip(starts, [*starts[1:], len(ogg)], strict=True)]


def test_ogg_pages_are_all_there(tmp_path, ogg):
    good, notes = ours(put(tmp_path, "a.ogg", ogg))
    assert not notes
    assert len(good) == 8 * len(SAMPLES)
    pages = pages_of(ogg)
    assert len(pages) > 5

    def refused(data, reason):
        with pytest.raises(InputError, match=rf"a\.ogg: {reason}"):
            read_audio(put(tmp_path, "a.ogg", b"".join(data)))

    refused([*pages[:3], *pages[4:]], r"damaged: the Ogg page at byte \d+ is number 4, expected 3")
    refused([*pages[:3], pages[3][:99] + b"x" + pages[3][100:], *pages[4:]], "damaged: .* checksum")
    refused([*pages[:3], pages[3][:-1]], "truncated: the Ogg page")
    refused([*pages[:-1], pages[-1][:20]], "truncated: the Ogg page")
    for data in ([*pages[:3], JUNK, *pages[3:]], [JUNK, *pages], [*pages, JUNK]):
        samples, (note,) = ours(put(tmp_path, "a.ogg", b"".join(data)))
        np.testing.assert_array_equal(samples, good)
        assert "damaged: 3000 bytes from byte" in note
    _, (note,) = ours(put(tmp_path, "a.ogg", b"".join(pages[:-1])))
    assert "no page is marked as the last" in note
    assert ogg_sound(b"".join(pages)).pieces == [(0, len(ogg))]


def test_two_ogg_files_in_one(tmp_path, ogg):
    one, _ = ours(put(tmp_path, "a.ogg", ogg))
    other = io.BytesIO()
    soundfile.write(other, np.tile(SAMPLES, 2), 16000, format="OGG", subtype="VORBIS")
    second, _ = ours(put(tmp_path, "b.ogg", other.getvalue()))
    both, notes = ours(put(tmp_path, "c.ogg", ogg + other.getvalue()))
    assert len(both) >= len(one) + len(second)  # FFmpeg goes on with the state of the first
    np.testing.assert_array_equal(both[: len(one) - 2048], one[:-2048])
    np.testing.assert_array_equal(both[2048 - len(second) :], second[2048:])
    assert not notes


def test_every_damaged_flac_frame_is_noticed(tmp_path):
    good = io.BytesIO()
    soundfile.write(good, SAMPLES, 16000, format="FLAC")
    good, rng = good.getvalue(), np.random.default_rng(3)
    streamed = good[:21] + bytes([good[21] & 0xF0]) + bytes(4) + good[26:]  # no count of samples
    assert len(ours(put(tmp_path, "a.flac", streamed))[0]) == len(SAMPLES)
    for _ in range(20):
        for whole in (good, streamed[: len(good)]):
            data = bytearray(whole)
            data[int(rng.integers(9000, len(data) - 9000))] ^= 1 << int(rng.integers(8))
            with pytest.raises(InputError, match=r"a\.flac: (damaged|truncated|decoding failed)"):
                read_audio(put(tmp_path, "a.flac", data))
    for cut in (3000, 9000):
        with pytest.raises(InputError, match="truncated"):
            read_audio(put(tmp_path, "a.flac", good[:-cut]))


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_m4a_that_is_cut(tmp_path, codec):
    data = encoded("mp4", codec, SAMPLES, 16000)
    whole, _ = ours(put(tmp_path, "a.m4a", data))
    assert len(whole) >= len(SAMPLES)
    for cut in (1, 200, len(data) // 2):
        with pytest.raises(InputError, match=r"truncated: (box|its index)"):
            read_audio(put(tmp_path, "a.m4a", data[:-cut]))
    same, (note,) = ours(put(tmp_path, "a.m4a", data + JUNK))
    np.testing.assert_array_equal(same, whole)
    assert "3000 bytes from byte" in note


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.opus", "libopus")]
)
def test_stretches_of_delayed_sound_are_those_of_the_whole(tmp_path, name, codec):
    rate = 48000 if codec == "libopus" else 16000
    container = {"a.m4a": "mp4", "a.opus": "ogg"}.get(name, "mp3")
    path = put(tmp_path, name, encoded(container, codec, SAMPLES, rate))
    whole, _ = ours(path)
    for start, count in ((1, 100), (1151, 3), (7000, 5000), (23990, 10)):
        part, _ = read_audio(path, start / rate, count / rate)
        np.testing.assert_array_equal(part, whole[start : start + count])
