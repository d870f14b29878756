"""One model as an archive to publish, and back."""

import json
import zipfile

import numpy as np
import soundfile
from support.tiny_models import CODEC

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.cli.main import main


def released(source, tmp_path, name="voices", *flags):
    out = tmp_path / f"{name}.zip"
    words = [str(source), "--out", str(out), "--licence", "CC BY 3.0, A. Nother", *flags]
    assert main(["release", *words]) == 0
    with zipfile.ZipFile(out) as archive:
        # Not the time of writing, which two archives of one test may share.
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "unpacked")
    return out, tmp_path / "unpacked" / name


def test_a_released_model_is_the_rounded_one(capsys, tiny_bundle, tmp_path):
    source = tiny_bundle / "codec"
    out, folder = released(source, tmp_path)
    before, after = load_model(source), load_model(folder)
    assert after.fingerprint != before.fingerprint
    assert after.provenance["rounded_from"] == before.fingerprint
    assert (after.kind, after.config) == (before.kind, before.config)
    for name, array in before.arrays.items():
        assert after.arrays[name].dtype == array.dtype == np.float32
        np.testing.assert_array_equal(after.arrays[name], array.astype(np.float16))
    card = (folder / "README.md").read_text()
    assert "CC BY 3.0, A. Nother" in card
    assert after.fingerprint[:16] in card
    assert f"{out.stat().st_size:,} bytes" in capsys.readouterr().out
    assert not [path.name for path in tmp_path.iterdir() if path not in (out, folder.parent)]


def test_a_model_in_8_bits_is_near_and_half_as_large(tiny_bundle, tmp_path):
    source = tiny_bundle / "codec"
    halves, _ = released(source, tmp_path)
    out, folder = released(source, tmp_path, "small", "--bits", "8")
    before, after = load_model(source), load_model(folder)
    assert after.arrays.keys() == before.arrays.keys()
    for name, array in before.arrays.items():
        most = np.abs(array).max() / 127 if array.ndim > 1 else np.abs(array).max() / 1000
        np.testing.assert_allclose(after.arrays[name], array, rtol=0, atol=0.51 * most)
    assert out.stat().st_size < 0.7 * halves.stat().st_size  # much of a tiny model is names
    assert "weights in 8 bits" in (folder / "README.md").read_text()


def test_a_released_codec_works_and_its_bytes_are_fixed(capsys, tiny_bundle, tmp_path):
    first, folder = released(tiny_bundle / "codec", tmp_path)
    prompt, codes = tmp_path / "a.wav", tmp_path / "a.codes"
    soundfile.write(prompt, np.random.default_rng(0).normal(size=4000) / 9, 16000)
    assert main(["codec", "encode", str(prompt), "--model", str(folder), "--out", str(codes)]) == 0
    decode = ["codec", "decode", str(codes), "--model"]
    assert main([*decode, str(folder), "--out", str(tmp_path / "b.wav")]) == 0
    # Rounding makes another model: its codes are not the old one's.
    assert main([*decode, str(tiny_bundle / "codec"), "--out", str(tmp_path / "c.wav")]) == 2
    written = first.read_bytes()
    again, _ = released(tiny_bundle / "codec", tmp_path)
    assert again.read_bytes() == written


def test_what_cannot_be_released(capsys, tiny_bundle, tmp_path):
    large = tmp_path / "large"
    arrays = {"a": np.float32([1, 7e4]), "ids": np.int32([3])}
    save_model(large, "soundstream", CODEC, arrays, {})
    words = ["release", str(large), "--licence", "none", "--out"]
    assert main([*words, str(tmp_path / "large.zip")]) == 2
    assert "a: holds numbers beyond 65504" in capsys.readouterr().err
    for out in (tmp_path / "large.tar", tmp_path / "nowhere" / "large.zip"):
        assert main([*words, str(out)]) == 2
        assert "expected NAME.zip in a folder that is there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_whole_numbers_stay(tmp_path):
    source = tmp_path / "counts"
    arrays = {"a": np.float32([0.1]), "ids": np.int32([2**30 + 1])}
    save_model(source, "soundstream", CODEC, arrays, {"steps": 3})
    _, folder = released(source, tmp_path)
    np.testing.assert_array_equal(load_model(folder).arrays["ids"], arrays["ids"])
    assert json.loads((folder / "model.json").read_text())["provenance"]["steps"] == 3
