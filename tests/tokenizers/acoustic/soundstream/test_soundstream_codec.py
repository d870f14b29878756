"""The frozen codec: padding, batching, prefixes of levels, lengths, bad input."""

import jax
import numpy as np
import optax
import pytest

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.soundstream.codec import KIND, SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import DiscriminatorConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.train import CODEBOOKS, program
from audiolm_jax.tokenizers.acoustic.soundstream.train_config import SoundStreamTrainConfig
from audiolm_jax.types import AcousticTokens, AudioBatch

CONFIG = SoundStreamConfig(
    sample_rate_hz=1600,
    channels=2,
    width_multipliers=(1, 2, 4),
    strides=(2, 4),
    dilations=(1, 3),
    embedding_width=3,
    quantizer=QuantizerConfig(levels=3, codebook_size=8),
)
QUICK = {"xla_backend_optimization_level": 0}
HOP = CONFIG.hop_samples


@pytest.fixture(scope="module")
def arrays():
    config = SoundStreamTrainConfig(
        discriminators=DiscriminatorConfig(
            wave_scales=(), stft_width=1, stft_window=128, stft_hop=64
        )
    )
    trainer = program(CONFIG, config, optax.sgd(0.1), optax.sgd(0.1))
    exported = trainer.export(jax.jit(trainer.init, compiler_options=QUICK)(jax.random.key(0)))
    vectors = np.random.default_rng(0).normal(size=exported[CODEBOOKS].shape)
    return exported | {CODEBOOKS: (0.05 * vectors).astype(np.float32)}


@pytest.fixture(scope="module")
def codec(arrays, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "codec"
    fingerprint = save_model(directory, KIND, CONFIG, arrays, {})
    codec = SoundStreamCodec.load(directory)
    assert codec.fingerprint == fingerprint
    return codec


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(1)
    sizes = [0, 1, HOP - 1, HOP, HOP + 1, 37 * HOP + 3, 128 * HOP, 129 * HOP, 111]
    return [(0.3 * rng.normal(size=n)).astype(np.float32) for n in sizes]


def pack(clips, width=None, pad=np.nan):
    lengths = np.array([len(c) for c in clips], np.int32)
    samples = np.full((len(clips), width or max(lengths.max(), 1)), pad, np.float32)
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = clip
    return AudioBatch(samples, lengths)


def test_codes_in_a_batch_with_nan_padding_are_those_alone(codec, clips):
    together = codec.encode(pack(clips, width=140 * HOP))
    assert together.codes.shape == (len(clips), 140, 3)
    assert together.codes.dtype == together.lengths.dtype == np.int32
    for i, clip in enumerate(clips):
        frames = -(-len(clip) // HOP)
        assert together.lengths[i] == frames
        assert not together.codes[i, frames:].any()
        alone = codec.encode(pack([clip]))
        np.testing.assert_array_equal(together.codes[i, :frames], alone.codes[0, :frames])
    assert len(np.unique(together.codes)) == 8


def test_partial_frame_is_filled_with_zeros(codec, clips):
    clip = clips[5]
    filled = np.pad(clip, (0, -len(clip) % HOP))
    np.testing.assert_array_equal(
        codec.encode(pack([clip])).codes[0, :38], codec.encode(pack([filled])).codes[0, :38]
    )


def test_decoding_a_batch_is_decoding_alone(codec, clips):
    tokens = codec.encode(pack(clips))
    hostile = np.where(
        np.arange(tokens.codes.shape[1])[None, :, None] < tokens.lengths[:, None, None],
        tokens.codes,
        10**6,
    )
    audio = codec.decode(AcousticTokens(hostile, tokens.lengths))
    np.testing.assert_array_equal(audio.lengths, tokens.lengths * HOP)
    assert np.abs(audio.samples).max() <= 1
    for i, frames in enumerate(tokens.lengths):
        alone = codec.decode(AcousticTokens(tokens.codes[i : i + 1, :frames], frames[None]))
        np.testing.assert_allclose(
            audio.samples[i, : frames * HOP], alone.samples[0], rtol=1e-4, atol=1e-5
        )
        assert not audio.samples[i, frames * HOP :].any()


def test_any_prefix_of_the_levels_decodes(codec, clips):
    tokens = codec.encode(pack(clips[5:6]))
    outputs = [
        codec.decode(AcousticTokens(tokens.codes[..., :q], tokens.lengths)).samples
        for q in (1, 2, 3)
    ]
    assert len({x.shape for x in outputs}) == 1
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[1], outputs[2])


def test_nothing_to_decode(codec):
    audio = codec.decode(AcousticTokens(np.zeros((2, 0, 3), np.int32), np.zeros(2, np.int32)))
    assert audio.samples.shape == (2, 0)


def test_long_items_need_no_further_program(codec, clips):
    """Two programs each, 1 and 8 rows of one block, whatever the lengths."""
    long = [np.tile(clips[5], 20), clips[6]]
    tokens = codec.encode(pack(long))
    codec.decode(tokens)
    codec.decode(codec.encode(pack(long[:1])))
    assert codec._jit_encode._cache_size() == 2
    assert codec._jit_decode._cache_size() <= 2 + 2  # prefixes of other tests


def test_bad_input_is_refused(codec, arrays):
    one = np.ones(1, np.int32)
    with pytest.raises(InputError, match="NaN"):
        codec.encode(AudioBatch(np.full((1, 9), np.nan, np.float32), 9 * one))
    with pytest.raises(InputError, match=r"4 levels: this codec decodes 1 to 3"):
        codec.decode(AcousticTokens(np.zeros((1, 1, 4), np.int32), one))
    with pytest.raises(InputError, match=r"span \[8, 8\].*another codec"):
        codec.decode(AcousticTokens(np.full((1, 1, 3), 8, np.int32), one))
    with pytest.raises(InputError, match=r"quantizer.codebooks"):
        SoundStreamCodec(CONFIG, {k: v for k, v in arrays.items() if k != CODEBOOKS}, "0")
    with pytest.raises(InputError, match=r"encoder.first.kernel"):
        SoundStreamCodec(CONFIG, arrays | {"encoder.first.kernel": np.zeros((2, 2))}, "0")
