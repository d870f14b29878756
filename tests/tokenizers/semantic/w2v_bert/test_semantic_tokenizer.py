"""Semantic tokens of any encoder: what a folder holds, and padding that changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.distances import distances_to, nearest
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.stretches import stretches
from audiolm_jax.tokenizers.semantic.tokenizer import (
    KmeansTokenizer,
    SemanticTokenizerConfig,
    load_frame_encoder,
    load_semantic_tokenizer,
    save_semantic_tokenizer,
)
from audiolm_jax.tokenizers.semantic.windows import checked
from audiolm_jax.types import AudioBatch

LENGTHS = np.array([7000, 15_321, 640, 641, 0], np.int32)
KMEANS = KmeansConfig(clusters=5, layer="masked_1", iterations=10)


def audio_with(padding):
    rng = np.random.default_rng(0)
    samples = np.full((len(LENGTHS), 16_000), padding, np.float32)
    for row, length in zip(samples, LENGTHS, strict=True):
        row[:length] = rng.normal(size=length) * np.sin(np.arange(length) / 300)
    return AudioBatch(samples, LENGTHS)


@dataclasses.dataclass
class Trained:
    directory: object
    tokenizer: KmeansTokenizer
    features: list
    result: object
    fingerprint: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory, trainer, initial_state, tiny_config):
    root = tmp_path_factory.mktemp("semantic")
    save_model(
        root / "encoder",
        "w2v_bert",
        tiny_config,
        jax.device_get(trainer.export(initial_state)),
        {"run": 1},
    )
    found, lengths = load_frame_encoder(root / "encoder").features(audio_with(0), "masked_1")
    features = [x[:n] for x, n in zip(found, lengths, strict=True)]
    result = fit_kmeans(np.concatenate(features), KMEANS)
    fingerprint = save_semantic_tokenizer(
        root / "semantic", root / "encoder", "masked_1", result, {"audio": "noise"}
    )
    tokenizer = load_semantic_tokenizer(root / "semantic")
    return Trained(root, tokenizer, features, result, fingerprint)


def test_ids_are_the_nearest_clusters_of_the_features(trained):
    tokens = trained.tokenizer.encode(audio_with(0))
    np.testing.assert_array_equal(tokens.lengths, -(-LENGTHS // 640))
    assert tokens.ids.shape == (5, 25)
    assert tokens.ids.dtype == np.int32
    result = trained.result
    for ids, features, count in zip(tokens.ids, trained.features, tokens.lengths, strict=True):
        assert len(features) == count
        expected = nearest(features, result.mean, result.std, result.centroids)
        np.testing.assert_array_equal(ids[:count], expected)
        assert not ids[count:].any()
    assert len(np.unique(tokens.ids)) == 5


@pytest.fixture(scope="module")
def phased(trained):
    """The same encoder and clusters, heard in four phases."""
    encoder, directory = trained.directory / "encoder", trained.directory / "phased"
    save_semantic_tokenizer(directory, encoder, "masked_1", trained.result, {}, phases=4)
    return load_semantic_tokenizer(directory)


@pytest.mark.parametrize("phases", [1, 4])
def test_padding_and_batch_change_no_id(trained, phased, phases):
    tokenizer = trained.tokenizer if phases == 1 else phased
    expected = tokenizer.encode(audio_with(0)).ids
    np.testing.assert_array_equal(tokenizer.encode(audio_with(np.nan)).ids, expected)
    for item in (0, 1):
        length = LENGTHS[item]
        alone = AudioBatch(audio_with(0).samples[item : item + 1, :length], LENGTHS[item:][:1])
        ids = tokenizer.encode(alone).ids
        assert ids.shape == (1, -(-length // 640))
        np.testing.assert_array_equal(ids[0], expected[item, : ids.shape[1]])


def test_in_phases_the_dense_frames_are_divided(trained, phased):
    """As by hand: four encodings, frames in order, the best stretches, the middle of tokens."""
    encoder, result = load_frame_encoder(trained.directory / "encoder"), trained.result
    length = 15_321
    sound = np.zeros(16_000, np.float32)
    sound[:length] = audio_with(0).samples[1, :length]
    dense = np.zeros((24, 4, len(result.mean)), np.float32)
    for phase, later in enumerate((-240, -80, 80, 240)):
        heard = np.zeros(length, np.float32)
        places = np.arange(length) + later
        inside = (places >= 0) & (places < length)
        heard[inside] = sound[places[inside]]
        found, _ = encoder.features(AudioBatch(heard[None], np.array([length])), "masked_1")
        dense[:, phase] = found[0]
    scale = result.mean, result.std, result.centroids
    distances = distances_to(dense.reshape(1, 96, -1), *scale)
    divided = stretches(distances, jnp.ones((1, 96), bool), 4)[0]
    ids = phased.encode(audio_with(0)).ids[1, :24]
    np.testing.assert_array_equal(ids, divided[2::4])
    assert (ids != trained.tokenizer.encode(audio_with(0)).ids[1, :24]).any()


def test_attributes_come_from_the_folder(trained):
    tokenizer = trained.tokenizer
    assert (tokenizer.sample_rate_hz, tokenizer.hop_samples, tokenizer.clusters) == (16_000, 640, 5)
    assert tokenizer.fingerprint == trained.fingerprint
    folder = load_model(trained.directory / "semantic", "semantic")
    encoder = load_model(trained.directory / "encoder", "w2v_bert")
    assert folder.provenance["audio"] == "noise"
    assert folder.provenance["encoder"]["fingerprint"] == encoder.fingerprint
    config = config_from_dict(SemanticTokenizerConfig, folder.config, "here")
    assert config == tokenizer.config
    assert config_to_dict(config) == folder.config


def test_bad_folders_are_named(trained, tmp_path):
    with pytest.raises(InputError, match="expected 'semantic'"):
        load_semantic_tokenizer(trained.directory / "encoder")
    folder = load_model(trained.directory / "semantic")
    arrays = {name: array for name, array in folder.arrays.items() if name != "kmeans.std"}
    save_model(tmp_path / "broken", "semantic", trained.tokenizer.config, arrays, {})
    with pytest.raises(InputError, match=r"kmeans\.std' is missing"):
        load_semantic_tokenizer(tmp_path / "broken")
    arrays = {name: a for name, a in folder.arrays.items() if name != "encoder.head.bias"}
    save_model(tmp_path / "broken", "semantic", trained.tokenizer.config, arrays, {})
    with pytest.raises(InputError, match=r"head\.bias' is missing"):
        load_semantic_tokenizer(tmp_path / "broken")


def test_a_layer_the_encoder_lacks_is_refused(trained, tmp_path):
    encoder = trained.directory / "encoder"
    with pytest.raises(InputError, match=r"layer = 'masked_7': this encoder has contrastive_1, "):
        save_semantic_tokenizer(tmp_path / "out", encoder, "masked_7", trained.result, {})
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="masked_7"):
        load_frame_encoder(encoder).features(audio_with(0), "masked_7")


def test_an_encoder_of_unknown_kind_is_refused(trained, tmp_path):
    folder = load_model(trained.directory / "semantic")
    config = folder.config | {"encoder": "wav2vec"}
    save_model(tmp_path / "other", "semantic", config, folder.arrays, {})
    with pytest.raises(InputError, match=r"encoder = 'wav2vec': expected w2v_bert or"):
        load_semantic_tokenizer(tmp_path / "other")


def test_lengths_beyond_the_samples_are_refused():
    with pytest.raises(InputError, match="lengths span"):
        checked(AudioBatch(np.zeros((2, 100), np.float32), np.array([5, 101])))
    with pytest.raises(InputError, match="expected \\[b, s\\]"):
        checked(AudioBatch(np.zeros((2, 100), np.float32), np.array([5])))
