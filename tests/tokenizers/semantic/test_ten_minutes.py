"""Semantic tokens of recordings far longer than a window, with every kind of encoder."""

import numpy as np
import pytest
from support.encoder_files import ENCODERS, KINDS, write_encoder
from support.tiny_models import KMEANS, voice, write_kmeans

from audiolm_jax.cli.main import main
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.types import AudioBatch

pytestmark = pytest.mark.slow
HOP = 640


def sound(seconds, seed=0):
    """Tones that change every second."""
    parts = [voice(1.0, 80 + 37 * (seed + i) % 400, seed + i) for i in range(int(seconds) + 1)]
    return np.concatenate(parts)[: round(seconds * 16000)]


@pytest.fixture(scope="module")
def ten_minutes():
    return sound(607.77, 11)


@pytest.mark.parametrize("kind", ["w2v_bert", "hubert", "hubert_large", "w2v_bert2"])
def test_tokens_of_ten_minutes_are_the_same_alone_in_a_batch_and_as_a_part(
    kind, ten_minutes, tiny_bundle, tmp_path
):
    encoder, layer = tiny_bundle.parent / "parts" / "encoder", KMEANS.layer
    if kind != "w2v_bert":
        encoder, layer = tmp_path / "encoder", "layer_2"
        fields = ENCODERS[kind]
        weights = write_encoder(tmp_path / "weights", fields)
        words = ["import", KINDS[fields["model_type"]], str(weights), "--out", str(encoder)]
        assert main(words) == 0
    write_kmeans(tmp_path / "semantic", encoder, layer)
    tokenizer = load_semantic_tokenizer(tmp_path / "semantic")
    assert tokenizer.config.window == WindowConfig()
    alone = tokenizer.encode(AudioBatch.from_clips([ten_minutes])).ids[0]
    assert len(alone) == -(-len(ten_minutes) // HOP) > 15_000
    assert len(np.unique(alone)) > 4
    others = [sound(95.5, 400), ten_minutes, sound(1.3, 500), sound(20, 600)]
    together = tokenizer.encode(AudioBatch.from_clips(others))
    np.testing.assert_array_equal(together.ids[1], alone)
    window = WindowConfig()
    begun = ten_minutes[: (9 * window.tokens + window.context) * HOP + 12_345]
    begun = tokenizer.encode(AudioBatch.from_clips([begun])).ids[0]
    kept = 9 * window.tokens
    np.testing.assert_array_equal(begun[:kept], alone[:kept])
