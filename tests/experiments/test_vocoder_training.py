"""Residual levels and decoders of frozen tokens, as experiments."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from support.tiny_models import (
    CLUSTERS,
    CODEC,
    KMEANS,
    voice,
    write_codec,
    write_semantic,
    write_voices,
)

from audiolm_jax.artifacts.model_folder import read_model_json, save_model
from audiolm_jax.artifacts.run_folder import fingerprint_of
from audiolm_jax.data.sources import AudioDataConfig, NoiseConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.residual import ResidualExperiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DiscriminatorConfig,
    LossConfig,
    QuantizerConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.vocoder.codec import load_codec
from audiolm_jax.tokenizers.vocoder.tokens import vectors_of
from audiolm_jax.training.config import LoopConfig, OptimizerConfig
from audiolm_jax.types import AudioBatch, VectorBatch

MODEL = dataclasses.replace(
    CODEC,
    strides=(2, 4, 8, 10),
    embedding_width=16,
    quantizer=QuantizerConfig(levels=1, codebook_size=CLUSTERS),
)
TRAIN = SoundStreamTrainConfig(
    losses=LossConfig(spectral_windows=(64, 512), mel_bins=16),
    discriminators=DiscriminatorConfig(
        wave_scales=(1,), wave_width=4, wave_max_width=4, stft_width=2, stft_window=128, stft_hop=64
    ),
    discriminator_start_step=5,
)

QUICK = {"xla_backend_optimization_level": 0}  # speed is no concern here


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("vocoders")
    write_semantic(root / "semantic", root / "encoder")
    write_codec(root / "codec")
    write_voices(root / "audio")
    return root


def experiment(root, **fields):
    chosen = {
        "directory": str(root / "vocoder"),
        "data": AudioDataConfig(str(root / "audio"), heldout_percent=30),
        "crop_seconds": 0.8,
        "batch_size": 4,
        "model": MODEL,
        "train": TRAIN,
        "tokens": str(root / "semantic"),
        "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=0),
        "loop": LoopConfig(
            steps=6, log_every=1, heldout_batches=1, evaluate_every=3, checkpoint_every=6
        ),
    }
    return VocoderExperiment(**(chosen | fields))


def residual(root, **fields):
    chosen = {
        "directory": str(root / "residual"),
        "data": AudioDataConfig(str(root / "audio"), heldout_percent=30),
        "encoder": str(root / "semantic"),
        "kmeans": dataclasses.replace(KMEANS, max_frames=200),
        "levels": 3,
    }
    return ResidualExperiment(**(chosen | fields))


def test_batches_come_with_the_vectors_of_the_tokens(root):
    own = experiment(root)
    data = own.open_data()
    tokens = own._open_tokens()
    stream = data.batches(0)
    batches = [next(stream), next(stream)]
    shapes = own.abstract_batch()
    for batch in (*batches, *data.heldout()):
        assert isinstance(batch, VectorBatch)
        np.testing.assert_array_equal(batch.vectors, vectors_of(tokens, batch.audio))
        assert batch.vectors.shape == shapes.vectors.shape == (4, 20, 16)
        assert batch.vectors.dtype == shapes.vectors.dtype
        assert batch.audio.samples.shape == shapes.audio.samples.shape
    again = next(own.open_data().batches(1))
    np.testing.assert_array_equal(again.vectors, batches[1].vectors)
    assert own.filled(batches[0]) == (1.0, 1.0)


@pytest.mark.slow
def test_a_decoder_learns_and_is_saved_with_its_tokens(root):
    own = experiment(root, samples=1)
    folder = own.run()
    record = read_model_json(folder)
    assert record["provenance"]["upstream"] == {"tokens": fingerprint_of(root / "semantic")}
    lines = [json.loads(x) for x in (folder.parent / "metrics.jsonl").read_text().splitlines()]
    heldout = [x["heldout/spectral_loss"] for x in lines if "heldout/spectral_loss" in x]
    assert heldout[-1] < heldout[0]
    assert any(x.get("feature_loss", 0) > 0 for x in lines)
    assert any((folder.parent / "samples").rglob("*"))
    vocoder, clip = load_codec(folder), voice(1.0, 130, 5)
    tokens = vocoder.encode(AudioBatch.from_clips([clip]))
    assert np.abs(vocoder.decode(tokens).samples).max() > 1e-3
    assert own.model_flops() > 0
    assert own.run() == folder  # finished
    assert own.is_finished()
    assert not dataclasses.replace(own, crop_seconds=0.9).is_finished()


def test_what_is_exported_sounds_as_it_was_evaluated(root, tmp_path):
    """Without a step: the decoder alone is made, and its folder decodes as the trainer hears."""
    own = experiment(root)
    program = own.program()
    state = jax.jit(program.init, compiler_options=QUICK)(jax.random.key(0))
    assert set(state.params["generator"]) == {"decoder"}
    batch = next(iter(own.open_data().heldout()))
    heard = np.asarray(jax.jit(own.hear(), compiler_options=QUICK)(state, batch))
    config, arrays = own.packed(program.export(state))
    save_model(tmp_path / "model", own.kind, config, arrays, {})
    vocoder = load_codec(tmp_path / "model")
    made = vocoder.decode(vocoder.encode(batch.audio)).samples
    size = batch.audio.samples.shape[1]
    for row, samples, length in zip(made[:, :size], heard, batch.audio.lengths, strict=True):
        np.testing.assert_allclose(row[:length], np.clip(samples[:length], -1, 1), atol=3e-5)
        assert not samples[length:].any()
    sums = jax.jit(program.evaluate, compiler_options=QUICK)(state, batch)
    assert set(sums.totals) == {"spectral_loss", "si_sdr_db"}
    assert sums.counts["si_sdr_db"] == (batch.audio.lengths > 0).sum()


def test_levels_are_fitted_and_decoded(root):
    folder = residual(root).run()
    record = read_model_json(folder)
    assert (record["kind"], record["config"]["levels"]) == ("residual", 3)
    inertia = record["provenance"]["inertia"]
    assert inertia[0] > inertia[1] > inertia[2]
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == ["model"]
    model = dataclasses.replace(MODEL, quantizer=QuantizerConfig(levels=2, codebook_size=CLUSTERS))
    own = experiment(root, tokens=str(folder.parent), model=model)
    assert next(own.open_data().batches(0)).vectors.shape == (4, 20, 16)
    four = dataclasses.replace(model.quantizer, levels=4)
    wrong = dataclasses.replace(own, model=dataclasses.replace(model, quantizer=four))
    with pytest.raises(InputError, match="its tokens have 3 levels, not 4"):
        wrong.open_data()


def test_codes_of_a_codec_have_a_decoder_too(root):
    quantizer = dataclasses.replace(CODEC.quantizer, levels=2)
    own = experiment(
        root, tokens=str(root / "codec"), model=dataclasses.replace(CODEC, quantizer=quantizer)
    )
    assert next(own.open_data().batches(0)).vectors.shape == (4, 40, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": (2, 4, 5, 8)}, r"--model\.strides: their product 320: .* has 640; make them"),
        ({"embedding_width": 8}, r"--model\.embedding-width 8: .* has 16; make them equal"),
        (
            {"quantizer": QuantizerConfig(levels=1, codebook_size=9)},
            r"--model\.quantizer\.codebook-size 9: .* has 8; make them equal",
        ),
    ],
)
def test_a_decoder_that_does_not_fit_is_refused(root, change, message):
    with pytest.raises(InputError, match=message):
        experiment(root, model=dataclasses.replace(MODEL, **change)).open_data()


def test_bad_fields_get_one_line(root):
    with pytest.raises(InputError, match=r"--levels 0: expected 1 or more"):
        residual(root, levels=0)
    with pytest.raises(InputError, match=r"--phases 4: expected 1"):
        residual(root, phases=4)
    data = AudioDataConfig(str(root / "audio"))
    with pytest.raises(InputError, match=r"noise"):
        experiment(root, noise=NoiseConfig(data))


def test_what_the_tokens_have_heard_is_not_held_out(root, monkeypatch):
    known = {"config": {"data": {"dataset": "x", "source": str(root / "audio")}}}
    known["config"]["data"]["heldout_percent"] = 5
    monkeypatch.setattr("audiolm_jax.data.unheard.provenance_at", lambda path: known)
    with pytest.raises(InputError, match=r"--tokens .* was trained on"):
        experiment(root).open_data()
