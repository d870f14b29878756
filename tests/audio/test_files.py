"""Bad files name themselves and the reason; good files come back exactly."""

import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audio_files import encoded

from audiolm_jax.audio.files import FORMATS, iter_audio, probe, read_audio, write_wav
from audiolm_jax.audio.wav import read_wav_provenance
from audiolm_jax.errors import InputError


def tone(seconds=0.5, rate=16000, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def encode(path, samples, rate, codec, container=None):
    path.write_bytes(encoded(container or path.suffix[1:], codec, samples, rate))
    return path


@settings(max_examples=25, deadline=None)
@given(
    pcm=st.lists(st.integers(-32768, 32767), min_size=1, max_size=300),
    rate=st.sampled_from([8000, 16000, 22050, 48000]),
    note=st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)),
)
def test_wav_written_is_wav_read(tmp_path_factory, pcm, rate, note):
    path = tmp_path_factory.getbasetemp() / "round.wav"
    samples = np.array(pcm, np.float32) / 32768
    assert write_wav(path, samples, rate, note) == 0
    first = path.read_bytes()
    back, back_rate = read_audio(path)
    np.testing.assert_array_equal(back, samples)
    assert back_rate == rate
    assert read_wav_provenance(path) == note
    write_wav(path, samples, rate, note)
    assert path.read_bytes() == first


def test_wav_cut_samples_are_counted(tmp_path):
    samples = np.array([0.0, 1.0, -1.0, 1.01, -7.0, 0.5], np.float32)
    assert write_wav(tmp_path / "a.wav", samples, 16000, None) == 2
    back, _ = read_audio(tmp_path / "a.wav")
    assert back.max() == 32767 / 32768
    assert back.min() == -1
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]


def test_write_wav_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="finite"):
        write_wav(tmp_path / "a.wav", np.array([0, np.nan], np.float32), 16000, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "tolerance"),
    [
        (".flac", "flac", 22050, 1e-4),
        (".mp3", "libmp3lame", 44100, 0.05),
        (".ogg", "libopus", 48000, 0.05),
        (".opus", "libopus", 48000, 0.05),
        (".m4a", "aac", 44100, 0.02),
        (".g722", "g722", 16000, 0.1),
        (".wav", "pcm_f32le", 44100, 1e-4),
        (".wav", "pcm_s24le", 44100, 1e-4),
        (".wav", "pcm_u8", 44100, 0.02),
    ],
)
def test_formats_keep_level_rate_and_length(tmp_path, suffix, codec, rate, tolerance):
    samples = tone(0.5, rate)
    container = {".m4a": "mp4", ".opus": "ogg"}.get(suffix)
    path = encode(tmp_path / f"a{suffix}", samples, rate, codec, container)
    back, back_rate = read_audio(path)
    assert back_rate == rate
    assert back.dtype == np.float32
    assert abs(len(back) - len(samples)) < 3000
    middle = back[len(back) // 4 : len(back) // 2]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, abs=tolerance)
    info = probe(path)
    assert (info.sample_rate_hz, info.channels) == (rate, 1)
    assert info.seconds == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("suffix", "codec"), [(".wav", "pcm_s16le"), (".flac", "flac")])
def test_stretches_are_exact(tmp_path, suffix, codec):
    samples = np.random.default_rng(0).normal(0, 0.1, 20000).astype(np.float32)
    path = encode(
        tmp_path / f"a{suffix}", samples, 22050, FORMATS[suffix].replace("wav", "pcm_s16le")
    )
    whole, rate = read_audio(path)
    for start, count in [(0, 1), (1, 4096), (4095, 4098), (12345, 7000), (19999, 10)]:
        part, _ = read_audio(path, start / rate, count / rate)
        np.testing.assert_array_equal(part, whole[start : start + count])
    with pytest.raises(InputError, match="no samples"):
        read_audio(path, 1.0)


def test_stereo_becomes_the_mean(tmp_path):
    left, right = np.full(100, 8192, "<i2"), np.full(100, -4096, "<i2")
    body = np.stack([left, right], 1).tobytes()
    header = b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 2, 16000, 64000, 4, 16) + b"data"
    (tmp_path / "a.wav").write_bytes(header + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], np.full(100, 0.0625))


def test_blocks_are_the_whole(tmp_path):
    path = encode(tmp_path / "a.mp3", tone(2.0, 16000), 16000, "libmp3lame")
    whole, _ = read_audio(path)
    blocks = [block for block, _ in iter_audio(path)]
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def refused(path, reason):
    with pytest.raises(InputError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message


def test_bad_files_are_refused_by_name_and_reason(tmp_path):
    good = tmp_path / "good.wav"
    write_wav(good, tone(), 16000, {"seed": 1})
    data = good.read_bytes()

    def put(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    refused(tmp_path / "gone.wav", "No such file")
    refused(put("a.txt", b"x"), "suffix '.txt'")
    refused(put("empty.wav", b""), "empty file")
    refused(put("text.wav", b"hello, I am prose\n" * 99), "text file")
    refused(put("text.g722", b"hello, I am prose\n" * 99), "text file")
    refused(put("noise.wav", bytes(range(256)) * 9), "not a wav file")
    refused(put("cut.wav", data[: len(data) // 2]), "truncated")
    refused(put("cut1.wav", data[:-2]), "truncated")
    refused(put("cut2.wav", data[:30]), "truncated")
    refused(put("nodata.wav", data[:12]), "truncated")
    write_wav(tmp_path / "zero.wav", np.zeros(0, np.float32), 16000, None)
    refused(tmp_path / "zero.wav", "no samples")
    refused(put("rate.wav", data[:24] + struct.pack("<I", 1) + data[28:]), "sample rate 1 Hz")
    flac = encode(tmp_path / "a.flac", tone(3.0), 16000, "flac").read_bytes()
    with pytest.raises(InputError, match=r"cut\.flac: (truncated|decoding failed|not \.flac)"):
        read_audio(put("cut.flac", flac[: len(flac) // 2]))


def test_non_finite_samples_are_refused(tmp_path):
    samples = tone()
    body = samples.copy()
    for value in (np.nan, np.inf):
        body[777] = value
        raw = body.astype("<f4").tobytes()
        header = b"RIFF" + struct.pack("<I", 36 + len(raw)) + b"WAVEfmt "
        header += struct.pack("<IHHIIHH", 16, 3, 1, 16000, 64000, 4, 32) + b"data"
        (tmp_path / "nan.wav").write_bytes(header + struct.pack("<I", len(raw)) + raw)
        refused(tmp_path / "nan.wav", "NaN")


def test_wav_written_to_a_pipe_and_trailing_tags_are_good(tmp_path):
    write_wav(tmp_path / "a.wav", tone(), 16000, None)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    (tmp_path / "tags.wav").write_bytes(data + b"ID3 tags and the like" * 9)
    assert len(read_audio(tmp_path / "tags.wav")[0]) == 8000
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "pipe.wav").write_bytes(data)
    assert len(read_audio(tmp_path / "pipe.wav")[0]) == 8000


@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    content=st.binary(max_size=200),
    whole=st.booleans(),
    cut=st.integers(0, 99),
)
def test_hostile_bytes_end_in_samples_or_input_error(tmp_path_factory, suffix, content, whole, cut):
    path = tmp_path_factory.getbasetemp() / f"hostile{suffix}"
    if whole:  # a valid beginning, then rubbish
        write_wav(path, tone(0.01), 16000, None)
        content = path.read_bytes()[:cut] + content
    path.write_bytes(content)
    try:
        samples, rate = read_audio(path)
    except InputError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    assert np.isfinite(samples).all()
    assert 4000 <= rate <= 768000


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_any_sample_of_a_short_flac_file_is_reached(tmp_path, subtype):
    """FFmpeg refuses to seek in many of those with few frames."""
    rng = np.random.default_rng(0)
    for length in (1, 100, 2515, 4096, 4097, 6048, 11310, 13300):
        samples = rng.integers(-(2**15), 2**15, length) / 2**15
        soundfile.write(tmp_path / "x.flac", samples, 8000, subtype=subtype)
        for start in (0, *rng.integers(0, length, 4).tolist(), length - 1):
            found, _ = read_audio(tmp_path / "x.flac", start / 8000)
            np.testing.assert_array_equal(found, samples[start:].astype(np.float32))
