"""Files through a codec: pieces equal the whole, bad input is one line, nothing is half-written."""

import dataclasses
import os

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.tiny_models import CODEC, CODES, voice, write_codec

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.code_file import CodeFile, read_codes, write_codes
from audiolm_jax.tokenizers.acoustic.recordings import decode_recording, encode_recording
from audiolm_jax.tokenizers.acoustic.soundstream.codec import KIND, SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.config import DenoisingConfig
from audiolm_jax.types import AudioBatch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("codec") / "model"
    write_codec(path)
    return path


@pytest.fixture(scope="module")
def codec(folder):
    return SoundStreamCodec.load(folder)


def test_a_file_in_pieces_is_the_file_at_once(codec, tmp_path):
    source = tmp_path / "a.wav"
    write_wav(source, voice(6.1, 140), 22050, None)
    samples = read_resampled(source, 16000, "soxr_hq")
    tokens = codec.encode(AudioBatch.from_clips([samples]))
    file = encode_recording(source, codec, codec.levels)
    assert file.samples == len(samples)
    np.testing.assert_array_equal(file.codes, tokens.codes[0])
    decode_recording(file, codec, tmp_path / "b.wav", {})
    heard, rate = read_audio(tmp_path / "b.wav")
    expected = codec.decode(tokens).samples[0, : len(samples)]
    assert (rate, len(heard)) == (16000, len(samples))
    np.testing.assert_allclose(heard, expected, atol=1 / 32768)
    shallow = encode_recording(source, codec, 2)
    np.testing.assert_array_equal(shallow.codes, file.codes[:, :2])


def test_an_error_leaves_no_file(codec, tmp_path):
    bad = CodeFile(np.full((300, 1), CODES, np.uint16), 300 * codec.hop_samples)
    bad.codes[:200] = 0
    with pytest.raises(InputError, match="another codec"):
        decode_recording(bad, codec, tmp_path / "b.wav", {})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def code_file(codec, tmp_path):
    """(path, function that writes it anew with changed codes or metadata)."""
    path = tmp_path / "a.codes"
    codes = np.ones((3, codec.levels), np.uint16)
    metadata = {
        "format": "audiolm_codes_1",
        "codec": codec.fingerprint,
        "sample_rate_hz": "16000",
        "hop_samples": "320",
        "samples": "900",
    }

    def change(codes=codes, **changes):
        kept = {k: v for k, v in (metadata | changes).items() if v is not None}
        save_file({"codes": codes}, path, kept)

    return path, change


def test_code_file_round_trip(codec, code_file):
    path, change = code_file
    change()
    file = read_codes(path, codec)
    write_codes(path.with_name("b.codes"), file, codec)
    again = read_codes(path.with_name("b.codes"), codec)
    assert again.samples == file.samples == 900
    np.testing.assert_array_equal(again.codes, file.codes)
    assert [p.name for p in sorted(path.parent.iterdir())] == ["a.codes", "b.codes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a code file"),
        ({"sample_rate_hz": "24000"}, "sample_rate_hz = 24000, this codec has 16000"),
        ({"hop_samples": "640"}, "hop_samples = 640, this codec has 320"),
        ({"codec": "0" * 64}, "codes of codec 0000000000000000, this codec is"),
        ({"codec": None}, "no codec"),
        ({"samples": "961"}, "961 samples do not fit 3 frames"),
        ({"samples": "640"}, "640 samples do not fit 3 frames"),
        ({"samples": "-5"}, "-5 samples do not fit"),
        ({"codes": np.full((3, 4), CODES, np.uint16)}, f"code {CODES} is out of range"),
        ({"codes": np.ones((3, 4), np.int32)}, "codes of int32"),
        ({"codes": np.ones((3, 5), np.uint16)}, "5 levels, this codec has 1 to 4"),
        ({"codes": np.ones((3, 0), np.uint16)}, "0 levels"),
        ({"codes": np.ones(3, np.uint16)}, "not a code file"),
    ],
)
def test_bad_code_files_are_refused(codec, code_file, changes, message):
    path, change = code_file
    change(**changes)
    with pytest.raises(InputError, match=message) as caught:
        read_codes(path, codec)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def run(capsys, *words):
    capsys.readouterr()
    status = main(["codec", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err.strip().splitlines()


def test_folders_keep_their_structure_and_report_every_file(capsys, folder, tmp_path):
    import soundfile

    source = tmp_path / "in"
    (source / "deep" / "er").mkdir(parents=True)
    write_wav(source / "a.wav", voice(0.5, 120), 16000, None)
    six = np.stack([voice(0.5, 100 + i) for i in range(6)], 1)
    soundfile.write(source / "deep" / "six.wav", np.repeat(six, 12, 0), 192000)
    soundfile.write(source / "deep" / "er" / "b.flac", voice(0.4, 90), 44100)
    (source / "notes.txt").write_text("hello")
    model = ["--model", folder]
    status, out, err = run(capsys, "encode", source, *model, "--out", tmp_path / "codes")
    assert status == 0
    assert err == [f"skipped {source}/notes.txt: not .flac .g722 .m4a .mp3 .ogg .opus .w64 .wav"]
    assert out.count("mean of the channels, converted to 16000 Hz by soxr_hq") == 1
    names = ["a.codes", "deep/er/b.codes", "deep/six.codes"]
    assert files(tmp_path / "codes") == names
    lengths = [read_codes(tmp_path / "codes" / n, SoundStreamCodec.load(folder)) for n in names]
    assert [file.samples for file in lengths] == [8000, 2322, 8000]

    silent = np.full(9000, np.nan, np.float32)
    soundfile.write(source / "nan.wav", silent, 16000, subtype="FLOAT")
    write_wav(source / "nothing.wav", np.zeros(0, np.float32), 16000, None)
    soundfile.write(source / "a.flac", voice(0.4, 90), 44100)
    status, _, err = run(capsys, "roundtrip", source, *model, "--out", tmp_path / "heard")
    assert status == 2
    assert len(err) == 5
    assert err[-1] == f"audiolm codec: {source}: 3 of 6 files failed, see above"
    for line, reason in zip(
        err[1:-1], ["already became", "NaN or infinite", "no samples"], strict=True
    ):
        assert line.startswith("failed: ")
        assert reason in line
    assert files(tmp_path / "heard") == ["a.wav", "deep/er/b.wav", "deep/six.wav"]

    (tmp_path / "codes" / "torn.codes").write_bytes(b"torn")
    decode = ["decode", tmp_path / "codes", *model, "--levels", "1", "--out", tmp_path / "back"]
    status, out, err = run(capsys, *decode)
    assert (status, len(err)) == (2, 2)
    assert "torn.codes: not a code file" in err[0]
    assert files(tmp_path / "back") == ["a.wav", "deep/er/b.wav", "deep/six.wav"]
    assert "0.20 kbit/s" in out


def test_files_of_a_folder_are_those_of_an_audit_whatever_they_are_called(capsys, folder, tmp_path):
    source, out = tmp_path / "in", tmp_path / "codes"
    names = [os.fsdecode(b"caf\xe9.wav"), "two\nlines.wav", "n" * 246 + ".wav", "linked/x.wav"]
    (source / ".trash").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    for name in (*names, ".trash/a.wav"):
        write_wav(source / name, voice(0.4, 90), 16000, None)
    (source / "bad\n.wav").write_bytes(b"")
    (source / "._a.wav").write_bytes(b"\0\x05\x16\x07")
    (source / "a.aiff").write_bytes(b"FORM")
    status, said, err = run(capsys, "encode", source, "--model", folder, "--out", out)
    assert (status, len(err)) == (2, 5)
    for line, words in zip(
        err, ["._a.wav: left", ".trash: hidden", "a.aiff: sound", r"bad\x0a.wav: empty", "1 of 5"],
        strict=True,
    ):  # fmt: skip
        assert words in line
    assert len(said.splitlines()) == 1 + len(names)
    assert r"codes/two\x0alines.codes: 0.40 s" in said
    assert files(out) == sorted(f"{name.removesuffix('.wav')}.codes" for name in names)
    back = ["decode", out, "--model", folder, "--out", tmp_path / "back"]
    assert run(capsys, *back)[0] == 0
    assert files(tmp_path / "back") == sorted(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate_hz": "24000"}, "sample_rate_hz = 24000, this codec has 16000"),
        ({"codec": "0" * 64}, "decode with the codec that wrote them"),
        ({"codes": np.full((3, 4), CODES, np.uint16)}, f"code {CODES} is out of range"),
    ],
)
def test_code_files_that_do_not_fit_write_nothing(capsys, folder, code_file, changes, message):
    path, change = code_file
    change(**changes)
    out = path.with_name("heard.wav")
    status, printed, err = run(capsys, "decode", path, "--model", folder, "--out", out)
    assert (status, printed, len(err)) == (2, "", 1)
    assert err[0].startswith(f"audiolm codec: {path}: ")
    assert message in err[0]
    assert files(path.parent) == ["a.codes"]


@pytest.mark.slow
def test_noise_is_removed_on_the_side_of_the_switch_only(capsys, folder, tmp_path):
    stored = load_model(folder)
    config = dataclasses.replace(CODEC, denoising=DenoisingConfig("decoder"))
    film = {"film.gamma": np.float32([[1.0] * 8, [-2.0] * 8]), "film.beta": np.zeros((2, 8))}
    arrays = stored.arrays | {name: a.astype(np.float32) for name, a in film.items()}
    save_model(tmp_path / "model", KIND, config, arrays, {})
    write_wav(tmp_path / "a.wav", voice(0.5, 120), 16000, None)
    model = ["--model", tmp_path / "model"]
    encode = ["encode", tmp_path / "a.wav", *model, "--out", tmp_path / "a.codes"]
    status, _, err = run(capsys, *encode, "--denoise")
    assert (status, len(err)) == (2, 1)
    assert "is in its decoder; give --denoise to decode or roundtrip" in err[0]
    assert run(capsys, *encode)[0] == 0
    heard = {}
    for name, flags in (("off", []), ("on", ["--denoise"])):
        out = ["--out", tmp_path / f"{name}.wav"]
        assert run(capsys, "decode", tmp_path / "a.codes", *model, *out, *flags)[0] == 0
        heard[name], _ = read_audio(tmp_path / f"{name}.wav")
    assert np.abs(heard["on"] - heard["off"]).max() > 0.01


def files(folder):
    return [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "in", "--out", "in/codes"], "lies in the source folder"),
        (["roundtrip", "in/a.wav", "--out", "in/a.wav"], "is the source itself"),
        (["encode", "in/a.wav", "--out", "a.wav"], "expected a name ending in .codes"),
        (["decode", "in", "--out", "x"], "holds no file ending in .codes"),
        (["encode", "in", "--out", "in/a.wav"], "in the source folder"),
        (["encode", "gone.wav", "--out", "a.codes"], "gone.wav: cannot be read"),
        (["squeeze", "in", "--out", "x"], "squeeze"),
        (["encode", "in/zero.wav", "--out", "x.codes"], "in/zero.wav: holds no samples"),
        (["encode", "in/nan.wav", "--out", "x.codes"], "in/nan.wav: contains NaN or infinite"),
        (["roundtrip", "in/nan.wav", "--out", "x.wav"], "in/nan.wav: contains NaN or infinite"),
        (["encode", "in/a.wav", "--out", "x.codes", "--denoise"], "not trained to remove noise"),
    ],
)
def test_bad_command_lines_are_one_line(capsys, folder, tmp_path, monkeypatch, words, message):
    import soundfile

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write_wav(tmp_path / "in" / "a.wav", voice(0.1, 120), 16000, None)
    write_wav(tmp_path / "in" / "zero.wav", np.zeros(0, np.float32), 16000, None)
    late = np.where(np.arange(80000) == 79999, np.nan, 0).astype(np.float32)
    soundfile.write("in/nan.wav", late, 16000, subtype="FLOAT")
    before = (tmp_path / "in" / "a.wav").read_bytes()
    status, _, err = run(capsys, *words, "--model", folder)
    assert (status, len(err)) == (2, 1)
    assert message in err[0]
    assert files(tmp_path) == ["in/a.wav", "in/nan.wav", "in/zero.wav"]
    assert (tmp_path / "in" / "a.wav").read_bytes() == before
