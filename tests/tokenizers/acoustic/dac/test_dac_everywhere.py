"""The imported codec where SoundStream serves: loading, code files, bundles, continuations."""

import numpy as np
import pytest
from support.dac_files import random_arrays
from support.tiny_models import CODES, LEVELS, voice, write_tiny_bundle

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.cli.main import main
from audiolm_jax.experiments.tokens import LoadTokenizers
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.tokenizers.acoustic.code_file import CodeFile, read_codes, write_codes
from audiolm_jax.tokenizers.acoustic.dac.codec import KIND, DacCodec
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.reader import LICENCE
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.types import AudioBatch

CONFIG = DacConfig(
    encoder_width=2,
    decoder_width=16,
    latent_width=8,
    levels=LEVELS,
    codebook_size=CODES,
    codebook_width=4,
)


def write_dac(directory):
    provenance = {"model": "Descript Audio Codec", "licence": LICENCE}
    return save_model(directory, KIND, CONFIG, random_arrays(CONFIG), provenance)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("dac"), write_dac)


def test_a_bundle_holds_it(bundle):
    loaded = load_bundle(bundle)
    assert isinstance(loaded.codec, DacCodec)
    assert loaded.codec.fingerprint == loaded.parts["codec"]
    card = (bundle / "README.md").read_text()
    assert "| codec | dac |" in card
    assert f"Licence of codec, Descript Audio Codec: {LICENCE}" in card


def test_workers_of_tokenize_load_it(bundle):
    codec, semantic = LoadTokenizers(str(bundle / "codec"), str(bundle / "semantic"))()
    assert isinstance(codec, DacCodec)
    assert semantic.hop_samples % codec.hop_samples == 0


def test_files_and_continuations(bundle, tmp_path):
    prompt = tmp_path / "prompt.wav"
    write_wav(prompt, voice(1.0, 130), 16000, None)
    model = ["--model", str(bundle / "codec")]
    codes, heard, direct = (str(tmp_path / n) for n in ("a.codes", "a.wav", "b.wav"))
    assert main(["codec", "encode", str(prompt), *model, "--out", codes]) == 0
    assert main(["codec", "decode", codes, *model, "--out", heard]) == 0
    assert main(["codec", "roundtrip", str(prompt), *model, "--out", direct]) == 0
    samples, rate = read_audio(heard)
    assert (len(samples), rate) == (16000, 16000)
    np.testing.assert_array_equal(samples, read_audio(direct)[0])

    out = str(tmp_path / "more.wav")
    words = ["continue", str(prompt), "--models", str(bundle), "--out", out, "--seconds", "0.4"]
    assert main([*words, "--generation.context-seconds", "1"]) == 0
    samples, _ = read_audio(out)
    assert len(samples) == 1.4 * 16000


def test_bad_files_are_one_line_and_leave_nothing(bundle, tmp_path, capsys):
    """What the two kinds of codec check differently: their own fingerprints and streams."""
    import soundfile

    prompt, codes, out = tmp_path / "prompt.wav", tmp_path / "a.codes", tmp_path / "out.wav"
    write_wav(prompt, voice(0.2, 130), 16000, None)
    soundfile.write(tmp_path / "nan.wav", np.full(99, np.nan), 16000, subtype="FLOAT")
    write_wav(tmp_path / "zero.wav", np.zeros(0, np.float32), 16000, None)
    model, other = bundle / "codec", tmp_path / "other"
    save_model(other, KIND, CONFIG, random_arrays(CONFIG, seed=1), {})
    assert main(["codec", "encode", str(prompt), "--model", str(model), "--out", str(codes)]) == 0
    file = read_codes(codes, DacCodec.load(model))
    loud = CodeFile(np.full_like(file.codes, CODES), file.samples)
    write_codes(tmp_path / "loud.codes", loud, DacCodec.load(model))
    before = sorted(tmp_path.iterdir())
    for verb, source, folder, message in (
        ("decode", "a.codes", other, "decode with the codec that wrote them"),
        ("decode", "loud.codes", model, f"code {CODES} is out of range"),
        ("roundtrip", "nan.wav", model, "NaN or infinite samples"),
        ("roundtrip", "zero.wav", model, "holds no samples"),
    ):
        capsys.readouterr()
        path = tmp_path / source
        words = ["codec", verb, str(path), "--model", str(folder), "--out", str(out)]
        assert main(words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"audiolm codec: {path}: ")
        assert message in line
        assert sorted(tmp_path.iterdir()) == before


def test_six_channels_at_192_khz(bundle, tmp_path):
    """What is encoded is the mean of the channels at the codec's rate."""
    import soundfile

    six = np.stack([voice(0.3, 100 + i) for i in range(6)], 1)
    soundfile.write(tmp_path / "six.wav", np.repeat(six, 12, 0), 192000, subtype="FLOAT")
    codec = load_acoustic_tokenizer(bundle / "codec")
    mono = read_resampled(tmp_path / "six.wav", 16000, "soxr_hq")
    words = ["codec", "encode", str(tmp_path / "six.wav"), "--model", str(bundle / "codec")]
    assert main([*words, "--out", str(tmp_path / "six.codes")]) == 0
    file = read_codes(tmp_path / "six.codes", codec)
    assert file.samples == len(mono) == 4800
    expected = codec.encode(AudioBatch.from_clips([mono])).codes[0]
    np.testing.assert_array_equal(file.codes, expected)
