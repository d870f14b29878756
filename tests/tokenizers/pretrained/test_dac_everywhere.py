"""The imported codec where SoundStream serves: loading, code files, bundles, continuations."""

import numpy as np
import pytest
from dac_files import random_arrays
from tiny_models import CODES, LEVELS, voice, write_tiny_bundle

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.cli import main
from audiolm_jax.generate.bundle import load_bundle
from audiolm_jax.run import LoadTokenizers
from audiolm_jax.runtime.weights import save_model
from audiolm_jax.tokenizers.pretrained.dac.codec import KIND, DacCodec
from audiolm_jax.tokenizers.pretrained.dac.config import DacConfig
from audiolm_jax.tokenizers.pretrained.dac.reader import LICENCE

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


def test_codes_of_another_codec_are_refused(bundle, tmp_path, capsys):
    prompt, codes = tmp_path / "prompt.wav", tmp_path / "a.codes"
    write_wav(prompt, voice(0.2, 130), 16000, None)
    words = ["codec", "encode", str(prompt), "--model", str(bundle / "codec")]
    assert main([*words, "--out", str(codes)]) == 0
    save_model(tmp_path / "other", KIND, CONFIG, random_arrays(CONFIG, seed=1), {})
    words = ["codec", "decode", str(codes), "--model", str(tmp_path / "other")]
    assert main([*words, "--out", str(tmp_path / "a.wav")]) == 2
    assert "decode with the codec that wrote them" in capsys.readouterr().err
