"""Frozen tokens with the decoder trained on them, as a codec."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from support.tiny_models import (
    CLUSTERS,
    CODEC,
    KMEANS,
    random_arrays,
    voice,
    write_codec,
    write_semantic,
)

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.codecs.systems import load_codecs
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.codec import abstract_network
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.acoustic.soundstream.config import FrameRateConfig, QuantizerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import DecoderAlone
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.residual_fit import fit_levels
from audiolm_jax.tokenizers.semantic.residual import save_residual_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder, load_semantic_tokenizer
from audiolm_jax.tokenizers.vocoder.codec import TOKENS, VocoderConfig, load_codec
from audiolm_jax.tokenizers.vocoder.tokens import open_tokens, vectors_of
from audiolm_jax.types import AcousticTokenizer, AcousticTokens, AudioBatch

UNITS = dataclasses.replace(
    CODEC,
    strides=(2, 4, 8, 10),
    embedding_width=16,
    quantizer=QuantizerConfig(levels=1, codebook_size=CLUSTERS),
)
NETWORKS = {
    "semantic": UNITS,
    "residual": dataclasses.replace(
        UNITS,
        quantizer=QuantizerConfig(levels=2, codebook_size=CLUSTERS),
        frame_rate=FrameRateConfig(width=12, decoder_blocks=1, cells=4),
    ),
    "codec": dataclasses.replace(CODEC, quantizer=dataclasses.replace(CODEC.quantizer, levels=2)),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tokens of every kind, and a vocoder with random weights for each."""
    root = tmp_path_factory.mktemp("vocoder")
    write_semantic(root / "semantic", root / "encoder")
    write_codec(root / "codec")
    audio = AudioBatch.from_clips([voice(2, 80 + 40 * i, i) for i in range(4)])
    features, _ = load_frame_encoder(root / "encoder").features(audio, KMEANS.layer)
    flat = features.reshape(-1, features.shape[-1])
    found = fit_levels(flat, KmeansConfig(clusters=CLUSTERS, iterations=2), levels=2)
    save_residual_tokenizer(root / "residual", root / "encoder", KMEANS.layer, found, {})
    for name, network in NETWORKS.items():
        origin = load_model(root / name)
        config = VocoderConfig(origin.kind, origin.config, network.levels, network)
        arrays = random_arrays(lambda network=network: abstract_network(DecoderAlone, network), 3)
        arrays |= {TOKENS + key: x for key, x in origin.arrays.items()}
        save_model(root / f"of_{name}", "vocoder", config, arrays, {})
    return root


@pytest.mark.parametrize("name", NETWORKS)
def test_it_makes_the_tokens_it_is_of(root, name):
    vocoder, clip = load_codec(root / f"of_{name}"), voice(1.5, 120, 3)
    assert isinstance(vocoder, AcousticTokenizer)
    audio = AudioBatch.from_clips([clip])
    codes = vocoder.encode(audio).codes
    if name == "semantic":
        tokenizer = load_semantic_tokenizer(root / name)
        np.testing.assert_array_equal(codes[:, :, 0], tokenizer.encode(audio).ids)
        expected = tokenizer.clustering.centroids[codes[0, :, 0]]
    elif name == "codec":
        codec = load_acoustic_tokenizer(root / name)
        np.testing.assert_array_equal(codes, codec.encode(audio).codes[:, :, :2])
        expected = codec.latents(codes[0])
    else:
        expected = open_tokens(load_model(root / name), 2, "").latents(codes[0])
    np.testing.assert_array_equal(vocoder.latents(codes[0]), expected)
    vectors = vectors_of(open_tokens(load_model(root / name), vocoder.levels, ""), audio)
    np.testing.assert_array_equal(vectors[0], expected)


@pytest.mark.parametrize("name", ["semantic", "residual"])
def test_blocks_are_the_whole_decoder(root, name):
    """More than a block of 128 frames, in a batch, whatever stands beyond an item."""
    vocoder, network = load_codec(root / f"of_{name}"), NETWORKS[name]
    rng = np.random.default_rng(0)
    codes = rng.integers(0, CLUSTERS, (2, 200, network.levels)).astype(np.int32)
    lengths = np.array([200, 70], np.int32)
    hostile = codes.copy()
    hostile[1, 70:] = 10**6
    made = vocoder.decode(AcousticTokens(hostile, lengths))
    np.testing.assert_array_equal(made.lengths, lengths * 640)
    graphdef, state = nnx.split(abstract_network(DecoderAlone, network))
    arrays = load_model(root / f"of_{name}").arrays
    own = {key: x for key, x in arrays.items() if not key.startswith(TOKENS)}
    decoder = nnx.merge(graphdef, unflatten_into(state, own, "")).decoder
    for row, frames in enumerate(lengths):
        vectors = vocoder.latents(codes[row, :frames])[None]
        whole = np.clip(np.asarray(jax.jit(decoder)(vectors))[0], -1, 1)
        np.testing.assert_allclose(made.samples[row, : frames * 640], whole, rtol=0, atol=3e-5)
        assert not made.samples[row, frames * 640 :].any()
    assert np.abs(made.samples).max() > 1e-3


def test_the_evaluation_of_codecs_takes_it(root):
    paths = [(name, str(root / f"of_{name}")) for name in NETWORKS]
    systems = load_codecs(paths, levels=(99,))
    found = {c.label: c.kbps for system in systems for c in system.conditions}
    bits = np.log2(CLUSTERS)
    assert found == {
        "semantic, 1 level": pytest.approx(25 * bits / 1000),
        "residual, 2 levels": pytest.approx(50 * bits / 1000),
        "codec, 2 levels": pytest.approx(100 * 4 / 1000),
    }
    (answer,) = systems[0](voice(1.0, 100))
    assert answer.samples.shape == (16000,)
    assert answer.packet_bits == 25 * bits


def test_what_does_not_fit_gets_one_line(root, tmp_path):
    with pytest.raises(InputError, match=r"its tokens have 1 levels, not 2"):
        open_tokens(load_model(root / "semantic"), 2, "x")
    with pytest.raises(InputError, match=r"x: holds a 'w2v_bert' model, expected one that makes"):
        open_tokens(load_model(root / "encoder"), 1, "x")
    vocoder = load_codec(root / "of_semantic")
    with pytest.raises(InputError, match="2 levels: this codec decodes 1 to 1"):
        vocoder.decode(AcousticTokens(np.zeros((1, 1, 2), np.int32), np.ones(1, np.int32)))
    with pytest.raises(InputError, match="another codec"):
        vocoder.decode(AcousticTokens(np.full((1, 1, 1), CLUSTERS), np.ones(1, np.int32)))
    with pytest.raises(InputError, match="NaN"):
        vocoder.encode(AudioBatch(np.full((1, 9), np.nan, np.float32), np.full(1, 9, np.int32)))
    model = load_model(root / "of_semantic")
    arrays = {k: x for k, x in model.arrays.items() if not k.startswith("decoder.first")}
    save_model(tmp_path / "torn", "vocoder", model.config, arrays, {})
    with pytest.raises(InputError, match=r"torn: array 'decoder\.first.* is missing"):
        load_codec(tmp_path / "torn")
    assert config_to_dict(UNITS) == model.config["decoder"]
