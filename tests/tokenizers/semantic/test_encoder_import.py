"""Public encoders into model folders: names, folded norms, licences, files that do not fit."""

import joblib
import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from support.encoder_files import (
    ENCODERS,
    GOLDEN,
    HUBERT,
    HUBERT_25HZ,
    W2V_BERT2,
    arrays_of,
    clips,
    write_encoder,
)

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.cli.bundle import model_pages, part_name
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.generation.card import Said
from audiolm_jax.tokenizers.semantic.hubert.reader import read_hubert
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder, load_semantic_tokenizer
from audiolm_jax.tokenizers.semantic.w2v_bert2.reader import read_w2v_bert2
from audiolm_jax.types import AudioBatch, SemanticTokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {name: write_encoder(root / name, fields) for name, fields in ENCODERS.items()}


def error_of(capsys, *words):
    assert main(["import", *map(str, words)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_arrays_are_turned_into_our_layout(folders):
    theirs = arrays_of(W2V_BERT2)
    ours = read_w2v_bert2(folders["w2v_bert2"], 25, None).arrays
    block = "encoder.layers.1"
    for name, expected in (
        ("blocks.attention.key.kernel", theirs[f"{block}.self_attn.linear_k.weight"].T),
        ("blocks.convolution.gate.kernel", theirs[f"{block}.conv_module.pointwise_conv1.weight"]),
        (
            "blocks.convolution.depthwise.kernel",
            theirs[f"{block}.conv_module.depthwise_conv.weight"],
        ),
    ):
        expected = expected[..., 0].T if "gate" in name else expected
        expected = expected[:, 0].T if "depthwise" in name else expected
        np.testing.assert_array_equal(ours[name][1], expected)

    theirs, ours = arrays_of(HUBERT), read_hubert(folders["hubert"], 25, None).arrays
    conv = theirs["feature_extractor.conv_layers.1.conv.weight"]
    np.testing.assert_array_equal(ours["samples.convolutions.1.kernel"], conv.transpose(2, 1, 0))
    prefix = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    norms, vectors = theirs[f"{prefix}0"], theirs[f"{prefix}1"]
    kernel = norms * vectors / np.sqrt(np.square(vectors).sum((0, 1), keepdims=True))
    np.testing.assert_allclose(
        ours["positions.convolution.kernel"], kernel.transpose(2, 1, 0), rtol=1e-5
    )
    theirs, ours = arrays_of(HUBERT_25HZ), read_hubert(folders["hubert_25hz"], 25, None).arrays
    norm = {
        n: theirs[f"encoder.pos_conv_embed.batch_norm.{n}"]
        for n in ("weight", "bias", "running_mean", "running_var")
    }
    x = np.linspace(-1, 1, 8)
    expected = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
    found = x * ours["positions.scale"] + ours["positions.shift"]
    np.testing.assert_allclose(found, expected * norm["weight"] + norm["bias"], rtol=1e-4)


def test_older_names_and_fine_tuned_files(folders, tmp_path):
    """Weight norm as it was once stored, and the encoder under a prefix beside its head."""
    arrays = arrays_of(HUBERT)
    prefix = "encoder.pos_conv_embed.conv."
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        arrays[prefix + old] = arrays.pop(f"{prefix}parametrizations.weight.{new}")
    arrays = {f"hubert.{name}": x for name, x in arrays.items()}
    arrays["lm_head.weight"] = np.zeros((32, 8), np.float32)
    folder = write_encoder(tmp_path / "tuned", HUBERT, arrays)
    expected = read_hubert(folders["hubert"], 25, None)
    assert read_hubert(folder, 25, None).fingerprint == expected.fingerprint


def test_the_folder_says_where_it_came_from(folders, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["import", "hubert", str(folders["hubert"]), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "25 tokens a second" in printed
    assert "not stated beside the weights; facebook/hubert-* are published as Apache-2.0" in printed
    provenance = load_model(out, "hubert").provenance
    assert provenance["model"] == "HuBERT"
    assert len(provenance["source_sha256"]) == 64
    words = ["import", "w2v-bert-2", str(folders["w2v_bert2"]), "--out", str(out)]
    assert main(words) == 0
    assert "w2v-bert-2.0 is published as MIT" in capsys.readouterr().out
    # A model card beside the weights knows better, and the caller best.
    folder = write_encoder(tmp_path / "card", HUBERT)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-sa-4.0\n---\n# mHuBERT")
    assert read_hubert(folder, 25, None).provenance["licence"] == "cc-by-nc-sa-4.0"
    assert read_hubert(folder, 25, "MIT").provenance["licence"] == "MIT"


def test_token_rates(folders, tmp_path, capsys):
    words = [folders["hubert_large"], "--out", tmp_path / "out"]
    assert main(["import", "hubert", *map(str, words), "--token-rate-hz", "50"]) == 0
    encoder = load_frame_encoder(tmp_path / "out")
    assert (encoder.hop_samples, encoder.config.frames_per_token) == (320, 1)
    line = error_of(capsys, "hubert", *words, "--token-rate-hz", "20")
    assert "--token-rate-hz = 20: expected 50" in line
    # One of 25 frames a second has nothing to pool.
    assert read_hubert(folders["hubert_25hz"], 25, None).config["frames_per_token"] == 1


@pytest.mark.parametrize(
    ("fields", "changes", "message"),
    [
        (HUBERT, {"model_type": "wav2vec2"}, "model_type = 'wav2vec2': expected 'hubert'"),
        (HUBERT, {"hidden_act": "relu"}, "hidden_act = 'relu': expected 'gelu'"),
        (HUBERT, {"hidden_size": "8"}, "hidden_size = '8': expected a whole number"),
        (HUBERT, {"num_attention_heads": 3}, "width = 8: expected a multiple of heads = 3"),
        (HUBERT, {"conv_dim": [4, 6]}, "expected as many as conv_widths"),
        (W2V_BERT2, {"position_embeddings_type": "rotary"}, "expected 'relative_key'"),
        (W2V_BERT2, {"add_adapter": True}, "add_adapter = True: expected False"),
        (W2V_BERT2, {"feature_projection_input_dim": 81}, "expected a multiple of 2"),
        (W2V_BERT2, {"intermediate_size": 13}, "shape (12, 8), expected (13, 8)"),
    ],
)
def test_configs_that_do_not_fit(tmp_path, capsys, fields, changes, message):
    arrays = arrays_of(fields)
    folder = write_encoder(tmp_path / "weights", fields | changes, arrays)
    kind = "hubert" if fields is HUBERT else "w2v-bert-2"
    line = error_of(capsys, kind, folder, "--out", tmp_path / "out")
    assert message in line
    assert str(folder) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("encoder.layers.1.attention.k_proj.bias", None, "attention.k_proj.bias' is missing"),
        ("encoder.layers.2.layer_norm.bias", np.zeros(8), "unknown array 'encoder.layers.2"),
        ("encoder.layer_norm.weight", np.full(8, np.inf), "'encoder.layer_norm.weight' holds NaN"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, capsys, name, array, message):
    arrays = arrays_of(HUBERT)
    arrays.pop(name, None)
    if array is not None:
        arrays[name] = array
    folder = write_encoder(tmp_path / "weights", HUBERT, arrays)
    assert message in error_of(capsys, "hubert", folder, "--out", tmp_path / "out")


def test_preprocessors_that_do_not_fit(tmp_path, capsys):
    folder = write_encoder(tmp_path / "weights", W2V_BERT2)
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    line = error_of(capsys, "w2v-bert-2", folder, "--out", tmp_path / "out")
    assert "preprocessor_config.json: sampling_rate = 8000: expected 16000" in line
    (folder / "preprocessor_config.json").write_text("{")
    assert "damaged" in error_of(capsys, "w2v-bert-2", folder, "--out", tmp_path / "out")


@pytest.fixture(scope="module")
def kmeans(tmp_path_factory):
    """A scikit-learn k-means of layer_1, as fairseq fits it, and what it says of torch's frames."""
    frames = np.load(GOLDEN)["hubert"][1]
    estimator = MiniBatchKMeans(5, n_init=1, random_state=np.random.RandomState(0)).fit(frames)
    path = tmp_path_factory.mktemp("kmeans") / "km.bin"
    joblib.dump(estimator, path)
    return path, estimator.predict(frames)


@pytest.mark.slow
def test_with_kmeans_it_is_a_semantic_tokenizer(folders, kmeans, tmp_path, capsys):
    path, expected = kmeans
    words = [str(folders["hubert"]), "--kmeans", str(path), "--layer", "layer_1"]
    words += ["--out", str(tmp_path / "out"), "--token-rate-hz", "50"]
    assert main(["import", "hubert", *words]) == 0
    assert "5 clusters of layer_1 of HuBERT, 50 tokens a second" in capsys.readouterr().out
    tokenizer = load_semantic_tokenizer(tmp_path / "out")
    assert isinstance(tokenizer, SemanticTokenizer)
    assert (tokenizer.hop_samples, tokenizer.clusters) == (320, 5)
    ids = tokenizer.encode(AudioBatch.from_clips(clips()[1:2])).ids[0]
    np.testing.assert_array_equal(ids[: len(expected)], expected)
    assert len(set(expected)) == 5
    provenance = load_model(tmp_path / "out", "semantic").provenance
    assert "fairseq publishes its own as MIT" in provenance["licence"]
    assert provenance["encoder"]["provenance"]["model"] == "HuBERT"
    sources = {part_name(tmp_path / "out"): tmp_path / "out"}
    card = model_pages("bundle", sources, Said("none"))["README.md"]
    assert "Licence of semantic, k-means: not stated in the file; fairseq publishes" in card
    assert "Licence of semantic, HuBERT: not stated beside the weights; facebook/hubert-*" in card


def test_kmeans_that_does_not_fit(folders, kmeans, tmp_path, capsys):
    path, _ = kmeans
    words = ["hubert", folders["hubert"], "--out", tmp_path / "out", "--kmeans"]
    assert "give both or neither" in error_of(capsys, *words, path)
    assert "this encoder has layer_0" in error_of(capsys, *words, path, "--layer", "layer_9")
    joblib.dump(MiniBatchKMeans(2, n_init=1).fit(np.eye(7)), tmp_path / "km7.bin")
    line = error_of(capsys, *words, tmp_path / "km7.bin", "--layer", "layer_1")
    assert "array 'kmeans.mean' is of shape (7,), the encoder needs (8,)" in line
    assert "no such file" in error_of(capsys, *words, tmp_path / "km8", "--layer", "layer_1")
    assert not (tmp_path / "out").exists()


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "model.json").write_text('{"kind": "stage", "fingerprint": "0"}')
    with pytest.raises(InputError, match="expected an encoder: w2v_bert or w2v_bert2 or hubert"):
        load_frame_encoder(tmp_path)
