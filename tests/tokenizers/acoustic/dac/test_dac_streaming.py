"""Streams of a codec that is not causal: chunks of any lengths give what the recording gives."""

import numpy as np
import pytest
from support.dac_files import random_arrays

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.streaming import WindowStream
from audiolm_jax.types import AcousticTokens, AudioBatch, StreamingTokenizer

CONFIG = DacConfig(
    sample_rate_hz=1500,
    strides=(2, 5),
    encoder_width=4,
    decoder_width=16,
    latent_width=12,
    levels=3,
    codebook_size=16,
    codebook_width=4,
)
HOP = CONFIG.hop_samples
FRAMES = 151


@pytest.fixture(scope="module")
def codec():
    return DacCodec(CONFIG, random_arrays(CONFIG), "0" * 64, window_frames=48)


@pytest.fixture(scope="module")
def recording(codec):
    rng = np.random.default_rng(1)
    samples = (0.3 * rng.normal(size=FRAMES * HOP - 3)).astype(np.float32)
    return samples, *whole(codec, samples)


def whole(codec, samples):
    tokens = codec.encode(AudioBatch.from_clips([samples]))
    return tokens.codes[0], codec.decode(tokens).samples[0]


def chunks(x, seed, longest):
    """x in pieces of random lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    start = 0
    while start < len(x):
        size = int(rng.integers(0, longest + 1))
        yield x[start : start + size]
        start += size


def pushed(stream, pieces):
    return np.concatenate([*(stream.push(piece) for piece in pieces), stream.finish()])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("longest", "block_frames"), [(9, 1), (700, 1), (2000, 14), (1, 14)])
def test_streamed_codes_are_those_of_the_whole(codec, recording, seed, longest, block_frames):
    samples, codes, _ = recording
    assert len(np.unique(codes)) == CONFIG.codebook_size
    streamed = pushed(codec.open_encoder(block_frames), chunks(samples, seed, longest))
    np.testing.assert_array_equal(streamed, codes)
    assert streamed.dtype == np.int32


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("longest", "block_frames"), [(2, 1), (100, 1), (151, 14), (1, 14)])
def test_streamed_samples_are_those_of_the_whole(codec, recording, seed, longest, block_frames):
    _, codes, audio = recording
    streamed = pushed(codec.open_decoder(block_frames), chunks(codes, seed, longest))
    assert np.abs(audio).max() > 0.1
    np.testing.assert_allclose(streamed, audio, rtol=0, atol=1e-5)
    assert not streamed[-CONFIG.decoder_shortfall :].any()


@pytest.mark.parametrize("size", [0, 1, HOP, HOP + 1, 17 * HOP, 18 * HOP, 40 * HOP - 1])
def test_recordings_shorter_than_the_reach(codec, size):
    """Both ends of the recording in one window, with and without frames before the last."""
    samples = np.random.default_rng(size).normal(0, 0.3, size).astype(np.float32)
    codes, audio = whole(codec, samples)
    streamed = pushed(codec.open_encoder(), [samples])
    np.testing.assert_array_equal(streamed, codes)
    heard = pushed(codec.open_decoder(), [streamed])
    np.testing.assert_allclose(heard, audio, rtol=0, atol=1e-5)
    assert len(codec.open_encoder().finish()) == len(codec.open_decoder().finish()) == 0


def test_results_come_with_their_context(codec, recording):
    """Not a frame later than `latency_frames` says, and no earlier than the layers reach."""
    samples, codes, audio = recording
    encoder, decoder = codec.open_encoder(), codec.open_decoder()
    assert encoder.latency_frames == 1 + CONFIG.encoder_context
    assert decoder.latency_frames == 1 + CONFIG.decoder_context
    ready = encoder.latency_frames * HOP
    assert not len(encoder.push(samples[: ready - 1]))
    for frame in range(3):
        (code,) = encoder.push(samples[ready - 1 :][:1])
        np.testing.assert_array_equal(code, codes[frame])
        assert not len(encoder.push(samples[ready:][: HOP - 1]))
        ready += HOP
    assert not len(decoder.push(codes[: decoder.latency_frames - 1]))
    for frame in range(3):
        heard = decoder.push(codes[decoder.latency_frames - 1 + frame][None])
        np.testing.assert_allclose(heard, audio[frame * HOP : (frame + 1) * HOP], atol=1e-5)


@pytest.mark.parametrize("block_frames", [1, 5, 20])
def test_few_window_sizes_serve_any_chunks(block_frames):
    """What was due is out after every chunk, and each window carries its whole context."""
    context, per_input, windows = 3, 4, []

    def run(window, start, stop):
        windows.append((len(window) // per_input, start, stop))
        return window[::per_input]

    for seed in range(20):
        rng = np.random.default_rng(seed)
        samples = rng.normal(size=rng.integers(1, 300)).astype(np.float32)
        stream = WindowStream(
            run,
            lambda samples: None,
            np.zeros(0, np.float32),
            units=(per_input, 1),
            context=context,
            block_frames=block_frames,
            largest=20,
        )
        out, given = [], 0
        for piece in chunks(samples, seed, int(rng.choice([3, 30, 300]))):
            out.extend(stream.push(piece))
            given += len(piece)
            assert 0 <= given // per_input - len(out) < stream.latency_frames
        left = -(-given // per_input) - len(out)
        out.extend(stream.finish())
        assert windows[-1][0] < 2 * max(2 * context + left, (block_frames + 6) // 4)
        np.testing.assert_array_equal(out, samples[::per_input])
    small = block_frames + 6
    assert {size for size, _, _ in windows} <= {small, 26, small // 2, small // 4}
    assert {start for _, start, _ in windows} <= {3, 2, 1, 0}
    assert all(stop > 3 for _, _, stop in windows)


def test_streams_do_not_disturb_each_other(codec, recording):
    samples, codes, _ = recording
    first, second = codec.open_encoder(14), codec.open_encoder(14)
    ours, theirs = [], []
    for piece in chunks(samples, 3, 200):
        ours.append(first.push(piece))
        theirs.append(second.push(-piece))
    np.testing.assert_array_equal(np.concatenate([*ours, first.finish()]), codes)
    mirrored, _ = whole(codec, -samples)
    np.testing.assert_array_equal(np.concatenate([*theirs, second.finish()]), mirrored)


def test_any_prefix_of_the_levels_streams(codec, recording):
    codes = recording[1][:50, :2]
    audio = codec.decode(AcousticTokens(codes[None], np.array([50]))).samples[0]
    streamed = pushed(codec.open_decoder(14), chunks(codes, 0, 9))
    np.testing.assert_allclose(streamed, audio, rtol=0, atol=1e-5)


def test_bad_chunks_are_refused(codec):
    assert isinstance(codec, StreamingTokenizer)
    with pytest.raises(InputError, match="NaN"):
        codec.open_encoder().push(np.array([0, np.nan], np.float32))
    stream = codec.open_decoder()
    stream.push(np.zeros((1, 2), np.int32))
    with pytest.raises(InputError, match="same number of levels"):
        stream.push(np.zeros((1, 3), np.int32))
    for bad in (-1, 16):
        with pytest.raises(InputError, match="another codec"):
            stream.push(np.full((1, 2), bad))
    most = codec.max_block_frames
    assert most == 48 - 2 * max(CONFIG.encoder_context, CONFIG.decoder_context)
    with pytest.raises(InputError, match=f"block_frames = {most + 1}: expected 1 to {most}"):
        codec.open_encoder(most + 1)
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(np.zeros((1, 2), np.int32))
