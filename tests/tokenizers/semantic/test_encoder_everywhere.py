"""An imported encoder where w2v-BERT serves: k-means, tokens, bundles, continuations."""

import shutil

import numpy as np
import pytest
from support.encoder_files import HUBERT, KINDS, W2V_BERT2, write_encoder
from support.tiny_models import CLUSTERS, voice, write_kmeans, write_tiny_bundle

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.tokens import LoadTokenizers
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder, load_semantic_tokenizer
from audiolm_jax.types import AudioBatch

# The parts are tested by themselves in the default suite: here they are put together.
pytestmark = pytest.mark.slow


def import_encoder(directory, fields):
    weights = write_encoder(directory.parent / f"{directory.name}_weights", fields)
    words = ["import", KINDS[fields["model_type"]], str(weights), "--out", str(directory)]
    assert main(words) == 0


def write_semantic(directory, encoder):
    import_encoder(encoder, HUBERT)
    write_kmeans(directory, encoder, "layer_2")


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    def write_codec(directory):
        shutil.copytree(tiny_bundle / "codec", directory)

    return write_tiny_bundle(tmp_path_factory.mktemp("hubert"), write_codec, write_semantic)


def test_a_bundle_holds_it(bundle):
    loaded = load_bundle(bundle)
    assert loaded.semantic_tokenizer.fingerprint == loaded.parts["semantic"]
    assert loaded.semantic_tokenizer.config.encoder == "hubert"
    card = (bundle / "README.md").read_text()
    assert "Licence of semantic, HuBERT: not stated beside the weights; facebook/hubert-*" in card


def test_continuations(bundle, tmp_path):
    prompt, out = tmp_path / "prompt.wav", tmp_path / "more.wav"
    write_wav(prompt, voice(1.0, 130), 16000, None)
    words = ["continue", str(prompt), "--models", str(bundle), "--out", str(out)]
    assert main([*words, "--seconds", "0.4", "--generation.context-seconds", "1"]) == 0
    samples, _ = read_audio(str(out))
    assert len(samples) == 1.4 * 16000


def test_kmeans_and_tokens_of_recordings(bundle, tmp_path):
    (tmp_path / "audio").mkdir()
    for i in range(6):
        clip = voice(0.5 + 0.21 * i, 90 + 30 * i, i)
        write_wav(tmp_path / "audio" / f"{i}.wav", clip, 16000, None)
    data = AudioDataConfig(str(tmp_path / "audio"), heldout_percent=0)
    import_encoder(tmp_path / "encoder", W2V_BERT2)
    kmeans = KmeansConfig(clusters=CLUSTERS, layer="layer_1", iterations=3)
    experiment = KmeansExperiment(
        directory=str(tmp_path / "run"),
        data=data,
        encoder=str(tmp_path / "encoder"),
        batch_size=8,
        kmeans=kmeans,
    )
    folder = load_model(experiment.run(), "semantic")
    encoder = load_frame_encoder(tmp_path / "encoder")
    assert folder.provenance["upstream"]["encoder"] == encoder.fingerprint
    assert folder.provenance["config"]["kmeans"]["iterations"] == 3
    tokenizer = load_semantic_tokenizer(tmp_path / "run" / "model")
    assert (tokenizer.config.encoder, tokenizer.config.layer) == ("w2v_bert2", "layer_1")
    codec, semantic = LoadTokenizers(str(bundle / "codec"), str(tmp_path / "run" / "model"))()
    assert semantic.fingerprint == folder.fingerprint
    clip = AudioBatch.from_clips([voice(1.0, 100)])
    codes, tokens = codec.encode(clip), semantic.encode(clip)
    assert codes.lengths[0] == 2 * tokens.lengths[0] == 50
    assert tokens.ids.max() < CLUSTERS
    assert len(np.unique(tokens.ids)) > 1
