"""Codecs, semantic tokenizers and encoders of a package of one's own, through every door."""

import dataclasses
import json

import numpy as np
import pytest
from support import outside_parts
from support.tiny_models import (
    ENCODER,
    KMEANS,
    voice,
    write_kmeans,
    write_tiny_bundle,
    write_w2v_bert,
)

import audiolm_jax
from audiolm_jax.artifacts import outside
from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.cli.bundle import part_name
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.tokens import LoadTokenizers
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import (
    load_frame_encoder,
    load_kmeans_tokenizer,
    load_semantic_tokenizer,
)
from audiolm_jax.types import AcousticTokens, AudioBatch, StreamingTokenizer

REFUSED = "runs code of the module support.outside_parts; if you know it"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    with outside.trusting("support"):
        return write_tiny_bundle(folder, outside_parts.write_codec, outside_parts.write_semantic)


def test_a_bundle_of_them_speaks_for_who_trusts_them(bundle, tmp_path, capsys):
    write_wav(tmp_path / "prompt.wav", voice(1.0, 130), 16000, None)
    words = ["continue", str(tmp_path / "prompt.wav"), "--models", str(bundle), "--seconds", "1"]
    words += ["--generation.context-seconds", "1", "--out", str(tmp_path / "out.wav")]
    assert main(words) == 2
    assert f"codec: {REFUSED}" in (said := capsys.readouterr().err)
    assert "--trust support, or audiolm_jax.trust('support') in Python" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()
    assert main([*words, "--trust", "support.outside_parts"]) == 0
    sound, rate = read_audio(tmp_path / "out.wav")
    assert (len(sound), rate) == (2 * 16000, 16000)
    # What the prompt became: a whole number of steps of loudness.
    assert len(np.unique(sound[:16000].round(3))) <= 51
    with pytest.raises(InputError, match=REFUSED):
        audiolm_jax.load(bundle)
    capsys.readouterr()
    assert main(["info", str(bundle), "--trust=support"]) == 0
    assert "verified" in capsys.readouterr().out


def test_what_is_which_part_is_seen_from_what_it_does(bundle):
    with outside.trusting("support"):
        for part in ("codec", "semantic", "coarse_lm"):
            expected = part
            assert part_name(bundle / part) == expected
    with pytest.raises(InputError, match=REFUSED):
        part_name(bundle / "codec")


def test_a_worker_trusts_what_the_command_trusted(bundle):
    load = LoadTokenizers(str(bundle / "codec"), str(bundle / "semantic"))
    with pytest.raises(InputError, match=REFUSED):
        load()
    with outside.trusting():  # what the worker trusts is over with the test
        codec, semantic = dataclasses.replace(load, trusted=("support",))()
    assert (codec.levels, semantic.clusters) == (4, 8)


def test_a_codec_without_streams_gives_everything_at_the_end(bundle):
    with outside.trusting("support"):
        codec = load_acoustic_tokenizer(bundle / "codec")
    assert isinstance(codec, StreamingTokenizer)
    samples = voice(0.7, 150)[:-100]
    whole = codec.encode(AudioBatch.from_clips([samples]))
    stream = codec.open_encoder()
    for start in range(0, len(samples), 999):
        assert stream.push(samples[start : start + 999]).shape == (0, 4)
    codes = stream.finish()
    np.testing.assert_array_equal(codes, whole.codes[0])
    for levels in (4, 2):
        stream = codec.open_decoder(8)
        assert [len(stream.push(piece)) for piece in np.split(codes[:, :levels], 5)] == [0] * 5
        tokens = AcousticTokens(codes[None, :, :levels], whole.lengths)
        np.testing.assert_array_equal(stream.finish(), codec.decode(tokens).samples[0])
    assert len(codec.open_decoder().finish()) == len(codec.open_encoder().finish()) == 0


def test_an_encoder_goes_into_k_means_with_its_code(tmp_path):
    write_w2v_bert(tmp_path / "ours", ENCODER)
    ours = load_model(tmp_path / "ours")
    for name in ("Encoder", "Nameless"):
        kind = f"support.outside_parts:{name}"
        save_model(tmp_path / name, kind, ours.config, ours.arrays, {})
    with pytest.raises(InputError, match=REFUSED):
        load_frame_encoder(tmp_path / "Encoder")
    with outside.trusting("support"):
        with pytest.raises(InputError, match="Nameless has no config_type, the class of its con"):
            load_frame_encoder(tmp_path / "Nameless")
        audio = AudioBatch.from_clips([voice(1.0, 200)])
        features, _ = load_frame_encoder(tmp_path / "Encoder").features(audio, KMEANS.layer)
        expected, _ = load_frame_encoder(tmp_path / "ours").features(audio, KMEANS.layer)
        np.testing.assert_array_equal(features, expected)
        write_kmeans(tmp_path / "semantic", tmp_path / "Encoder", KMEANS.layer)
        assert load_semantic_tokenizer(tmp_path / "semantic").clusters == 8
    assert load_model(tmp_path / "semantic").code == load_model(tmp_path / "Encoder").code
    with pytest.raises(InputError, match=REFUSED):
        load_semantic_tokenizer(tmp_path / "semantic")


def test_other_code_is_refused_and_is_part_of_the_fingerprint(bundle, tmp_path, monkeypatch):
    here = outside_parts.write_codec(tmp_path / "here")
    monkeypatch.setattr(outside, "_code_of_file", lambda package, file: "mytokens 1.2")
    there = outside_parts.write_codec(tmp_path / "there")
    assert here != there
    monkeypatch.setattr(outside, "_code_of_file", lambda package, file: "mytokens 1.3")
    with outside.trusting("support"):
        with pytest.raises(InputError, match=r"was written with mytokens 1\.2 of .*, here is myt"):
            load_acoustic_tokenizer(tmp_path / "there")
        with pytest.raises(InputError, match=r"was written with sha256:[0-9a-f]{16} of support"):
            load_acoustic_tokenizer(tmp_path / "here")
    # What a folder says of its code is proved by its fingerprint.
    path = tmp_path / "there" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "mytokens 1.3"}))
    with (
        outside.trusting("support"),
        pytest.raises(InputError, match="does not match its fingerprint"),
    ):
        load_acoustic_tokenizer(tmp_path / "there")


def test_what_needs_centroids_says_that_there_are_none(bundle):
    with pytest.raises(InputError, match=r"'support\.outside_parts:Semantic' model, expect"):
        load_kmeans_tokenizer(bundle / "semantic")


def test_a_release_keeps_the_code(bundle, tmp_path, capsys):
    out = tmp_path / "codec.zip"
    words = ["release", str(bundle / "codec"), "--out", str(out), "--licence", "CC0"]
    assert main(words) == 0
    with outside.trusting("support"):
        assert audiolm_jax.load_codec(out).levels == 4
