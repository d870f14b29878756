"""Residual levels of features: the fit, whole or interrupted, and the tokenizer."""

import dataclasses
import signal

import numpy as np
import pytest
from support.tiny_models import KMEANS, voice, write_semantic

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans import residual_fit
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.fit import STATE
from audiolm_jax.tokenizers.semantic.kmeans.residual_fit import fit_levels
from audiolm_jax.tokenizers.semantic.residual import (
    ResidualTokenizer,
    residual_codes,
    save_residual_tokenizer,
)
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
from audiolm_jax.training.preemption import StopRequest, TrainingStopped
from audiolm_jax.types import AudioBatch

CONFIG = KmeansConfig(clusters=8, iterations=4)


def noise(frames=400, width=6, seed=1):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(frames, width)) * 3 + 5).astype(np.float32)


def assert_equal(one, two):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        np.testing.assert_array_equal(a, b, field.name)


def test_each_level_codes_what_the_levels_before_left_over():
    features = noise()
    found = fit_levels(features, CONFIG, levels=3)
    points = (features - found.mean) / found.std
    assert points.std(axis=0) == pytest.approx(np.ones(6), abs=1e-4)
    residual, codes = points.copy(), []
    for level, vectors in enumerate(found.codebooks):
        distances = np.square(residual[:, None] - vectors[None]).sum(-1)
        codes.append(distances.argmin(1))
        assert len(np.unique(codes[-1])) == CONFIG.clusters
        residual -= vectors[codes[-1]]
        assert np.square(residual).sum(1).mean() == pytest.approx(found.inertia[level], rel=1e-4)
    assert (np.diff(found.inertia) < 0).all()
    assert found.inertia[0] < 0.7 * np.square(points).sum(1).mean()
    np.testing.assert_array_equal(residual_codes(points, found.codebooks), np.stack(codes, 1))


def test_an_interrupted_fit_ends_in_the_same_bits(tmp_path, monkeypatch):
    features = noise()
    whole = fit_levels(features, CONFIG, levels=4)
    stop, fitted = StopRequest(), []
    own = residual_fit._fit_level

    def fit_level(passes, config, watched):
        fitted.append(config.seed)
        if len(fitted) == 3:
            stop.note(signal.SIGTERM)
        return own(passes, config, watched)

    monkeypatch.setattr(residual_fit, "_fit_level", fit_level)
    with pytest.raises(TrainingStopped) as stopped:
        fit_levels(features, CONFIG, 4, directory=tmp_path, stop=stop)
    assert stopped.value.code == 75
    assert residual_fit.read_levels(tmp_path).codebooks.shape[0] == 2
    assert_equal(fit_levels(features, CONFIG, 4, directory=tmp_path), whole)
    assert fitted == [0, 1, 2, 2, 3]  # finished levels are not made again


def test_bad_states_and_frames_get_one_line(tmp_path):
    (tmp_path / STATE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"kmeans_state.npz: damaged .*; delete it"):
        fit_levels(noise(), CONFIG, 2, directory=tmp_path)
    with pytest.raises(InputError, match=r"--kmeans.clusters = 8: .*; use fewer clusters"):
        fit_levels(np.repeat(noise(4), 10, axis=0), CONFIG, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Levels of the encoder that a semantic tokenizer holds."""
    root = tmp_path_factory.mktemp("residual")
    write_semantic(root / "semantic", root / "encoder")
    clips = [voice(2, 80 + 40 * i, i) for i in range(4)]
    features, _ = load_frame_encoder(root / "semantic").features(
        AudioBatch.from_clips(clips), KMEANS.layer
    )
    found = fit_levels(features.reshape(-1, features.shape[-1]), CONFIG, levels=3)
    save_residual_tokenizer(root / "residual", root / "semantic", KMEANS.layer, found, {"x": 1})
    return root / "residual"


def test_an_item_gets_what_it_would_get_alone(folder):
    tokenizer = ResidualTokenizer.load(folder)
    assert (tokenizer.levels, tokenizer.codebook_size, tokenizer.hop_samples) == (3, 8, 640)
    clips = [voice(seconds, 90, 7) for seconds in (0.5, 2.3, 1.01)]
    batch = AudioBatch.from_clips(clips)
    batch.samples[0, len(clips[0]) :] = np.nan
    tokens = tokenizer.encode(batch)
    for clip, codes, frames in zip(clips, tokens.codes, tokens.lengths, strict=True):
        assert frames == -(-len(clip) // 640)
        assert not codes[frames:].any()
        alone = tokenizer.encode(AudioBatch.from_clips([clip])).codes[0]
        np.testing.assert_array_equal(codes[:frames], alone)
    assert len(np.unique(tokens.codes)) == 8


def test_more_levels_are_nearer_to_the_features(folder):
    tokenizer, clip = ResidualTokenizer.load(folder), voice(2, 100, 1)
    audio = AudioBatch.from_clips([clip])
    features, _ = load_frame_encoder(folder.parent / "encoder").features(audio, KMEANS.layer)
    arrays = load_model(folder).arrays
    points = (features[0] - arrays["quantizer.mean"]) / arrays["quantizer.std"]
    codes = tokenizer.encode(audio).codes[0]
    errors = [np.square(points - tokenizer.latents(codes[:, :n])).mean() for n in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < np.square(points).mean()


def test_codebooks_of_another_encoder_are_refused(folder, tmp_path):
    model = load_model(folder)
    arrays = model.arrays | {"quantizer.codebooks": np.zeros((3, 8, 5), np.float32)}
    save_model(tmp_path / "other", "residual", model.config, arrays, {})
    with pytest.raises(InputError, match=r"'quantizer.codebooks' is of shape \(3, 8, 5\), expect"):
        ResidualTokenizer.load(tmp_path / "other")
