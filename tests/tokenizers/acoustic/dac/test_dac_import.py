"""Public weights of the codec into a model folder: names, layouts, weight norm, bad files."""

import importlib.util
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
from support.dac_files import (
    CONFIG,
    FIELDS,
    KWARGS,
    PAIRS,
    descript_arrays,
    transformers_arrays,
    write_transformers,
)

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.dac.published_config import (
    config_from_descript,
    config_from_transformers,
)
from audiolm_jax.tokenizers.acoustic.dac.reader import arrays_from, read_dac
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.types import AcousticTokenizer, AudioBatch


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_transformers(tmp_path_factory.mktemp("weights") / "dac")


def test_the_command_writes_a_folder_that_serves_as_codec(weights, tmp_path, capsys):
    assert main(["import", "dac", str(weights), "--out", str(tmp_path / "codec")]) == 0
    printed = capsys.readouterr().out
    assert "160 frames a second" in printed
    assert "MIT" in printed
    folder = load_model(tmp_path / "codec", "dac")
    assert folder.provenance["licence"].startswith("MIT; Copyright")
    assert len(folder.provenance["source_sha256"]) == 64
    codec = load_acoustic_tokenizer(tmp_path / "codec")
    assert isinstance(codec, AcousticTokenizer)
    sizes = (codec.sample_rate_hz, codec.hop_samples, codec.levels, codec.codebook_size)
    assert sizes == (1600, 10, 2, 16)
    assert codec.fingerprint == folder.fingerprint
    tokens = codec.encode(AudioBatch.from_clips([np.zeros(25, np.float32)]))
    assert tokens.codes.shape == (1, 3, 2)


def test_kernels_are_turned_into_our_layout(weights):
    config, arrays = read_dac(weights)
    assert config == CONFIG
    theirs = transformers_arrays()
    conv = theirs["encoder.block.1.conv1.weight"]  # [o, i, k]
    np.testing.assert_array_equal(
        arrays["encoder.stages.1.down.causal.kernel"], conv.transpose(2, 1, 0)
    )
    transposed = theirs["decoder.block.0.conv_t1.weight"]  # [i, o, k]
    np.testing.assert_array_equal(
        arrays["decoder.stages.0.up.causal.kernel"], transposed.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(
        arrays["quantizer.in_kernel"][1], theirs["quantizer.quantizers.1.in_proj.weight"][..., 0].T
    )


def test_both_publishers_files_give_the_same_arrays(weights):
    _, arrays = read_dac(weights)
    renamed = descript_arrays(transformers_arrays(), PAIRS)
    assert renamed.keys().isdisjoint({n for n in transformers_arrays() if n.endswith("weight_v")})
    other = arrays_from(CONFIG, renamed, "descript", "file")
    assert arrays.keys() == other.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(other[name], array, rtol=2e-6, err_msg=name)


def damaged(**changes):
    arrays = transformers_arrays()
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    return arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder.conv1.bias": None}, "array 'encoder.conv1.bias' is missing"),
        ({"decoder.extra": np.zeros(1)}, "unknown array 'decoder.extra'"),
        ({"encoder.conv1.weight": np.zeros((4, 1, 5))}, r"shape (4, 1, 5), expected (4, 1, 7)"),
        ({"encoder.snake1.alpha": np.full((1, 16, 1), np.nan)}, "'encoder.snake1.alpha' holds NaN"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, capsys, changes, message):
    folder = write_transformers(tmp_path / "dac", damaged(**changes))
    assert main(["import", "dac", str(folder), "--out", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "encodec"}, "model_type = 'encodec', expected 'dac'"),
        ({"sampling_rate": 0}, "sample_rate_hz = 0: expected 1 or more"),
        ({"sampling_rate": "16k"}, "sampling_rate = 16k: expected whole numbers"),
        ({"downsampling_ratios": [2, 4]}, r"upsampling_ratios = \[5, 2\]: expected \[4, 2\]"),
        ({"n_codebooks": None}, "n_codebooks = None: expected whole numbers"),
        ({"codebook_dim": [8, 4]}, "expected the same of every level"),
    ],
)
def test_configs_that_do_not_fit(changes, message):
    with pytest.raises(InputError, match=f"config.json: .*{message}|config.json: {message}"):
        config_from_transformers(FIELDS | changes, "config.json")


def test_metadata_of_descripts_file():
    assert config_from_descript({"metadata": {"kwargs": KWARGS}}, "file") == CONFIG
    # Older releases write neither the latent's width nor a single codebook width.
    older = {k: v for k, v in KWARGS.items() if k != "latent_dim"} | {"codebook_dim": [4, 4]}
    assert config_from_descript({"metadata": {"kwargs": older}}, "file").latent_width == 16
    for wrong in ({}, {"metadata": {}}, [1]):
        with pytest.raises(InputError, match=r"file: no metadata\.kwargs"):
            config_from_descript(wrong, "file")


def test_files_that_are_none(weights, tmp_path, capsys, monkeypatch):
    def line(*words):
        assert main(["import", *map(str, words)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    out = ("--out", tmp_path / "out")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    assert "config.json: not found" in line("dac", alone, *out)
    assert "config.json: not found" in line("dac", alone / "model.safetensors", *out)
    (alone / "config.json").write_text("{")
    assert "config.json: damaged" in line("dac", alone, *out)
    (alone / "config.json").write_text(json.dumps(FIELDS))
    (alone / "model.safetensors").write_bytes(b"0123")
    assert "model.safetensors: damaged" in line("dac", alone, *out)
    assert "no such file" in line("dac", tmp_path / "nowhere", *out)
    (tmp_path / "weights.onnx").write_bytes(b"")
    assert "expected a torch file" in line("dac", tmp_path / "weights.onnx", *out)
    assert "'encodec': expected one of" in line("encodec", weights, *out)
    (tmp_path / "weights.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert "pip install 'audiolm_jax[import]'" in line("dac", tmp_path / "weights.pth", *out)
    (tmp_path / "model.json").write_text('{"kind": "stage", "fingerprint": "0"}')
    with pytest.raises(InputError, match="expected a codec: soundstream or dac"):
        load_acoustic_tokenizer(tmp_path)


class _Surprise:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_objects_in_a_torch_file_are_not_executed(tmp_path, capsys):
    """The layout that torch writes, made without torch; with or without it installed."""
    path = tmp_path / "weights.pth"
    content = {"state_dict": {}, "metadata": {"kwargs": _Surprise()}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/data.pkl", pickle.dumps(content, protocol=2))
        file.writestr("weights/version", "3\n")
    assert main(["import", "dac", str(path), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.strip().splitlines()
    assert line.startswith(f"audiolm import: {path}: ")
    has_torch = importlib.util.find_spec("torch") is not None
    assert ("holds pickled objects" if has_torch else "needs torch") in line
    assert list(tmp_path.iterdir()) == [path]
