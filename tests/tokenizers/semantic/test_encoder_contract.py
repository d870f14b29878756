"""What every encoder keeps to, whichever kind it is; a new one joins by a line of `CASES`."""

import dataclasses

import numpy as np
import pytest
from support.encoder_files import ENCODERS, KINDS, clips, write_encoder
from support.tiny_models import ENCODER, write_w2v_bert

from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.types import AudioBatch, FrameEncoder

BEST_RQ = dataclasses.replace(ENCODER, objective="best_rq", contrastive_layers=0, masked_layers=2)


def imported(name):
    def write(folder):
        fields = ENCODERS[name]
        weights = write_encoder(folder.parent / "weights", fields)
        assert (
            main(["import", KINDS[fields["model_type"]], str(weights), "--out", str(folder)]) == 0
        )

    return write


# Name -> (writes a model folder, a layer, all layers).
LAYERS = ("layer_0", "layer_1", "layer_2")
CASES = {
    "w2v_bert": (lambda at: write_w2v_bert(at, ENCODER), "masked_1", ("contrastive_1", "masked_1")),
    "best_rq": (lambda at: write_w2v_bert(at, BEST_RQ), "masked_1", ("masked_1", "masked_2")),
    "hubert": (imported("hubert"), "layer_1", LAYERS),
    "hubert_large": (imported("hubert_large"), "output", (*LAYERS, "output")),
    "hubert_25hz": (imported("hubert_25hz"), "layer_2", LAYERS),
    "w2v_bert2": (imported("w2v_bert2"), "layer_1", LAYERS),
}
LENGTHS = np.array([9137, 4001, 1, 0, 640, 641], np.int32)


SLOW = dict.fromkeys(("hubert", "hubert_large", "hubert_25hz", "best_rq"), pytest.mark.slow)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=SLOW.get(name, ())) for name in CASES]
)
def case(request, tmp_path_factory):
    write, layer, layers = CASES[request.param]
    folder = tmp_path_factory.mktemp("encoder") / "model"
    write(folder)
    return folder, load_frame_encoder(folder), layer, layers


def batch(padding, lengths=LENGTHS, size=9600):
    samples = np.full((len(lengths), size), padding, np.float32)
    for row, length, clip in zip(samples, lengths, clips([9137] * len(lengths)), strict=True):
        row[:length] = clip[:length]
    return AudioBatch(samples, lengths)


def test_it_is_a_frame_encoder(case):
    _, encoder, _, layers = case
    assert isinstance(encoder, FrameEncoder)
    assert (encoder.sample_rate_hz, encoder.hop_samples) == (16000, 640)
    assert encoder.layers == layers
    assert len(encoder.fingerprint) == 64


def test_a_token_for_every_begun_hop(case):
    _, encoder, layer, _ = case
    features, lengths = encoder.features(batch(0), layer)
    np.testing.assert_array_equal(lengths, -(-LENGTHS // 640))
    assert lengths.dtype == np.int32
    assert features.dtype == np.float32
    assert features.shape == (6, 15, encoder.config.feature_width)
    assert np.isfinite(features).all()
    for row, count in zip(features, lengths, strict=True):
        assert not row[count:].any()
        assert not count or row[:count].any()


def test_padding_changes_no_bit(case):
    """Whatever it holds; that attention leaves padded frames out, which windows cut off, is seen in
    `test_the_module_by_itself_keeps_items_apart`."""
    _, encoder, layer, _ = case
    expected, _ = encoder.features(batch(0), layer)
    np.testing.assert_array_equal(encoder.features(batch(np.nan), layer)[0], expected)


def test_an_item_gets_the_bits_that_it_gets_alone(case):
    _, encoder, layer, _ = case
    together, counts = encoder.features(batch(0), layer)
    back, _ = encoder.features(AudioBatch(batch(0).samples[::-1], LENGTHS[::-1]), layer)
    np.testing.assert_array_equal(back[::-1], together)
    for row in (1, 2):
        length = LENGTHS[row]
        alone, _ = encoder.features(
            AudioBatch(batch(0).samples[row:, :length][:1], LENGTHS[row:][:1]), layer
        )
        np.testing.assert_array_equal(alone[0], together[row, : counts[row]])


def test_the_module_by_itself_keeps_items_apart(case):
    """Without the cutting into windows, which would hide what padding does to a program."""
    _, encoder, layer, _ = case
    run = encoder._compiled
    dirty = np.asarray(run(encoder.params, batch(np.nan), layer=layer))
    clean = np.asarray(run(encoder.params, batch(0), layer=layer))
    np.testing.assert_array_equal(dirty, clean)
    for row in (0, 1):  # in the same shape, so that nothing is compiled for it
        lengths = np.where(np.arange(len(LENGTHS)) == row, LENGTHS, 0)
        found = np.asarray(run(encoder.params, batch(0, lengths), layer=layer))
        np.testing.assert_allclose(found[row], clean[row], atol=2e-5)
    shorter = AudioBatch(batch(0).samples[1:2, :4001], LENGTHS[1:2])
    alone = np.asarray(run(encoder.params, shorter, layer=layer))
    np.testing.assert_allclose(alone[0], clean[1, : alone.shape[1]], atol=2e-4)


def test_windows_that_hold_the_recording_change_no_bit(case):
    folder, encoder, layer, _ = case
    small = load_frame_encoder(folder, WindowConfig(tokens=15, context=0))
    np.testing.assert_array_equal(
        small.features(batch(0), layer)[0], encoder.features(batch(0), layer)[0]
    )


def test_an_unknown_layer_is_refused(case):
    _, encoder, _, layers = case
    for layer in ("layer_9", "masked_0", "masked_1 ", ""):
        with pytest.raises(InputError, match=rf"^layer = '{layer}': .* has {', '.join(layers)}$"):
            encoder.features(batch(0), layer)
