"""Streams: chunks of random lengths give what the whole recording gives."""

import jax
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.streaming import DecoderStream, EncoderStream
from audiolm_jax.tokenizers.acoustic.soundstream.train import CODEBOOKS, build_generator
from audiolm_jax.types import AcousticTokens, AudioBatch, StreamingTokenizer

CONFIG = SoundStreamConfig(
    sample_rate_hz=1600,
    channels=2,
    width_multipliers=(1, 2, 4),
    strides=(2, 4),
    dilations=(1, 3),
    embedding_width=3,
    quantizer=QuantizerConfig(levels=3, codebook_size=16),
)
HOP = CONFIG.hop_samples
FRAMES = 150  # more than a block


@pytest.fixture(scope="module")
def arrays():
    model = jax.jit(lambda key: build_generator(CONFIG, key))(jax.random.key(0))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 16, 3)) * np.array([0.3, 0.1, 0.05])[:, None, None]
    return flatten_state(nnx.state(model, nnx.Param)) | {CODEBOOKS: vectors.astype(np.float32)}


@pytest.fixture(scope="module")
def codec(arrays):
    return SoundStreamCodec(CONFIG, arrays, "0" * 64)


@pytest.fixture(scope="module")
def recording(codec):
    rng = np.random.default_rng(1)
    samples = (0.3 * rng.normal(size=FRAMES * HOP - 3)).astype(np.float32)
    tokens = codec.encode(AudioBatch.from_clips([samples]))
    return samples, tokens.codes[0], codec.decode(tokens).samples[0]


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


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("longest", "block_frames"), [(9, 1), (999, 1), (2400, 128)])
def test_streamed_codes_are_those_of_the_whole(codec, recording, seed, longest, block_frames):
    samples, codes, _ = recording
    assert len(np.unique(codes)) == 16
    stream = codec.open_encoder(block_frames)
    streamed = pushed(stream, chunks(samples, seed, longest))
    np.testing.assert_array_equal(streamed, codes)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("longest", "block_frames"), [(2, 1), (150, 1), (200, 128)])
def test_streamed_samples_are_those_of_the_whole(codec, recording, seed, longest, block_frames):
    _, codes, audio = recording
    stream = codec.open_decoder(block_frames)
    streamed = pushed(stream, chunks(codes, seed, longest))
    np.testing.assert_allclose(streamed, audio, rtol=0, atol=1e-5)


def test_blocks_are_the_model_itself(codec, arrays, recording):
    """The convolutions in one piece, padded by the compiler, without any state."""
    samples, codes, audio = recording
    model = codec._merge(codec._params)
    padded = np.pad(samples, (0, 3))[None]
    latents = np.asarray(jax.jit(model.encoder)(padded))[0]
    residual = latents
    for level, vectors in enumerate(arrays[CODEBOOKS]):
        distance = ((residual[:, None] - vectors[None]) ** 2).sum(-1)
        np.testing.assert_array_equal(distance.argmin(-1), codes[:, level])
        residual = residual - vectors[codes[:, level]]
    whole = np.asarray(jax.jit(model.decoder)((latents - residual)[None]))[0]
    np.testing.assert_allclose(audio, np.clip(whole, -1, 1), rtol=0, atol=1e-5)


def test_latency_is_one_frame(codec, recording):
    """Codes come with the last sample of their hop, samples with their frame."""
    samples, codes, audio = recording
    encoder, decoder = codec.open_encoder(), codec.open_decoder()
    assert (encoder.latency_frames, decoder.latency_frames) == (1, 1)
    for frame in range(4):
        hop = samples[frame * HOP : (frame + 1) * HOP]
        assert not len(encoder.push(hop[:-1]))
        (code,) = encoder.push(hop[-1:])
        np.testing.assert_array_equal(code, codes[frame])
        heard = decoder.push(code[None])
        np.testing.assert_allclose(heard, audio[frame * HOP : (frame + 1) * HOP], atol=1e-5)


class Recorder:
    """A codec that computes nothing and remembers the shapes it was asked for."""

    hop_samples, levels, codebook_size = HOP, 3, 16

    def __init__(self):
        self.shapes = set()
        self.encoder_state = self.decoder_state = lambda batch: None

    def encode_block(self, samples, state):
        self.shapes.add(samples.shape)
        return np.zeros((1, samples.shape[1] // HOP, 3), np.int32), state

    def decode_block(self, codes, state):
        self.shapes.add(codes.shape)
        return np.zeros((1, codes.shape[1] * HOP), np.float32), state


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("block_frames", [1, 7, 128])
def test_few_shapes_serve_any_chunks(seed, block_frames):
    """What comes out in time is what was due, and only two programs are ever needed."""
    codec = Recorder()
    rng = np.random.default_rng(seed)
    samples = np.zeros(rng.integers(1, 700 * HOP), np.float32)
    encoder, pushed_in, codes = EncoderStream(codec, block_frames), 0, 0
    for piece in chunks(samples, seed, int(rng.choice([9, 500, 3000]))):
        codes += len(encoder.push(piece))
        pushed_in += len(piece)
        assert 0 <= pushed_in - codes * HOP < encoder.latency_frames * HOP
    assert codes + len(encoder.finish()) == -(-len(samples) // HOP)
    assert codec.shapes <= {(1, block_frames * HOP), (1, 128 * HOP)}
    decoder, frames = DecoderStream(codec, block_frames), np.zeros((codes, 2), np.int32)
    heard = pushed(decoder, chunks(frames, seed, int(rng.choice([3, 300]))))
    assert len(heard) == codes * HOP
    assert len(codec.shapes) <= 4


def test_streams_do_not_disturb_each_other(codec, recording):
    samples, codes, _ = recording
    first, second = codec.open_encoder(), codec.open_encoder()
    ours, theirs = [], []
    for piece in chunks(samples, 3, 200):
        ours.append(first.push(piece))
        theirs.append(second.push(-piece))
    np.testing.assert_array_equal(np.concatenate([*ours, first.finish()]), codes)
    mirrored = codec.encode(AudioBatch.from_clips([-samples])).codes[0]
    np.testing.assert_array_equal(np.concatenate([*theirs, second.finish()]), mirrored)


@pytest.mark.parametrize("seed", range(2))
def test_unequal_lengths_in_a_batch_with_nan_padding(codec, seed):
    """Each item as alone, over several blocks and more items than run side by side."""
    rng = np.random.default_rng(seed)
    sizes = [0, 1, *rng.integers(1, 140 * HOP, 8), 280 * HOP]
    samples = np.full((len(sizes), 290 * HOP), np.nan, np.float32)
    for row, size in zip(samples, sizes, strict=True):
        row[:size] = 0.3 * rng.normal(size=size)
    tokens = codec.encode(AudioBatch(samples, np.array(sizes, np.int32)))
    audio = codec.decode(tokens)
    for i, size in enumerate(sizes):
        frames = -(-size // HOP)
        alone = codec.encode(AudioBatch.from_clips([samples[i, :size]]))
        np.testing.assert_array_equal(tokens.codes[i, :frames], alone.codes[0])
        assert not tokens.codes[i, frames:].any()
        heard = codec.decode(alone).samples[0]
        np.testing.assert_allclose(audio.samples[i, : frames * HOP], heard, rtol=0, atol=1e-5)
        assert not audio.samples[i, frames * HOP :].any()


def test_any_prefix_of_the_levels_streams(codec, recording):
    codes = recording[1][:50, :2]
    whole = codec.decode(AcousticTokens(codes[None], np.array([50]))).samples[0]
    streamed = pushed(codec.open_decoder(128), chunks(codes, 0, 9))
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-5)


def test_bad_chunks_are_refused(codec):
    assert isinstance(codec, StreamingTokenizer)
    with pytest.raises(InputError, match="NaN"):
        codec.open_encoder().push(np.array([0, np.nan], np.float32))
    stream = codec.open_decoder(128)
    stream.push(np.zeros((1, 2), np.int32))
    with pytest.raises(InputError, match="same number of levels"):
        stream.push(np.zeros((1, 3), np.int32))
    for bad in (-1, 16):
        with pytest.raises(InputError, match="another codec"):
            stream.push(np.full((1, 2), bad))
    with pytest.raises(InputError, match="block_frames = 129"):
        codec.open_encoder(129)
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(np.zeros((1, 2), np.int32))
