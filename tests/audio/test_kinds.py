"""A mislabelled file is called what it is, and what to do is said."""

import os

import pytest
from support.audio_files import container as made

from audiolm_jax.audio.files import FORMATS, iter_audio, probe, read_audio
from audiolm_jax.errors import InputError

REAL = [
    (made("WAV"), "a wav file", ".wav"),
    (made("W64"), "a Wave64 file", ".w64"),
    (made("FLAC"), "a FLAC file", ".flac"),
    (made("OGG", "VORBIS"), "an Ogg file", ".ogg"),
    (b"RIFX" + made("WAV")[4:], "a big-endian RIFX file", ""),
    (made("AIFF"), "an AIFF file", ""),
    (made("AU"), "an AU file", ""),
    (made("CAF"), "a CAF file", ""),
    (made("NIST"), "a NIST SPHERE file", ""),
    (b"\0\0\0\x20ftypM4A " + bytes(99), "an MP4 file", ".m4a"),
    (b"\x1a\x45\xdf\xa3" + bytes(99), "a Matroska or WebM file", ""),
    (b"\xff\xf1" + bytes(99), "an AAC (ADTS) file", ""),
    (b"ID3\3\0\0\0\0\0\1\0fLaC" + bytes(99), "a FLAC file", ".flac"),
    (b"%PDF-1.4\x80" + bytes(99), "a PDF file", ""),
    (b"\0\x05\x16\x07" + bytes(99), "an AppleDouble file", ""),
]
SAME = [{".wav", ".w64"}, {".ogg", ".opus"}]


@pytest.mark.parametrize(("data", "kind", "suffix"), REAL, ids=[kind for _, kind, _ in REAL])
def test_what_a_file_really_is(tmp_path, data, kind, suffix):
    for other in sorted(FORMATS):
        if other == suffix or {other, suffix} in SAME:
            continue
        path = tmp_path / f"a{other}"
        path.write_bytes(data)
        remedy = rf"; rename it to end in \{suffix}$" if suffix else "; convert it to flac or wav"
        with pytest.raises(InputError) as caught:
            read_audio(path)
        assert caught.match(
            rf"a\{other}: is {kind}.* named \{other}{remedy}".replace("(", ".").replace(")", ".")
        )


def test_an_mp3_named_wav_and_a_wav_named_w64(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"\xff\xfb\x90\x00" + bytes(413))
    with pytest.raises(InputError, match=r"is an MP3 file named \.wav; rename it to end in \.mp3"):
        read_audio(tmp_path / "a.wav")
    (tmp_path / "a.w64").write_bytes(made("WAV"))
    assert probe(tmp_path / "a.w64").seconds == 0.5


def test_what_is_no_file(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(InputError, match=r"a\.wav: is a folder, expected a file"):
        next(iter_audio(tmp_path / "a.wav"))
    os.mkfifo(tmp_path / "b.wav")  # opening it would wait for ever
    with pytest.raises(InputError, match=r"b\.wav: is a pipe or device, expected a file"):
        probe(tmp_path / "b.wav")
