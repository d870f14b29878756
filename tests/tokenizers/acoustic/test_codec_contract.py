"""What every codec promises: whole = streamed = padded = batched, and bad input is refused.

A new codec joins by one line of `support.tiny_codecs.CODECS`.
"""

import itertools

import numpy as np
import pytest
from support.tiny_codecs import CODECS

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic import codec as codec_module
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.types import AcousticTokens, AudioBatch, StreamingTokenizer

FRAMES = 150  # more than a block
TOLERANCE = 3e-5  # of samples: blocks of unequal sizes may be summed in another order


SLOW = dict.fromkeys(("dac", "dac_even_strides", "denoising_decoder"), pytest.mark.slow)


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=SLOW.get(name, ())) for name in CODECS]
)
def tiny(request):
    return CODECS[request.param]()


@pytest.fixture(scope="module")
def codec(tiny):
    return tiny.codec


def noise(size, seed=0):
    return np.random.default_rng(seed).normal(0, 0.3, size).astype(np.float32)


def pack(clips, extra=0):
    """NaN behind each clip."""
    lengths = np.array([len(clip) for clip in clips], np.int32)
    samples = np.full((len(clips), max(lengths) + extra), np.nan, np.float32)
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip)] = clip
    return AudioBatch(samples, lengths)


def sizes_of(hop):
    """Fewer and more than whole frames, one and several blocks, more items than run together."""
    rng = np.random.default_rng(0)
    some = [0, 1, hop - 1, hop, hop + 1, 12 * hop, 37 * hop + 3, 128 * hop, 129 * hop, 280 * hop]
    return [*some, *map(int, rng.integers(1, 140 * hop, 4))]


@pytest.fixture(scope="module")
def batch(codec):
    """(clips, their codes in one batch with NaN padding)."""
    clips = [noise(size, seed) for seed, size in enumerate(sizes_of(codec.hop_samples))]
    return clips, codec.encode(pack(clips, extra=5 * codec.hop_samples + 1))


@pytest.fixture(scope="module")
def recording(codec):
    """(samples, codes, samples again), the last frame partly filled."""
    samples = noise(FRAMES * codec.hop_samples - 3)
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


def assert_close(samples, expected):
    np.testing.assert_allclose(samples, expected, rtol=0, atol=TOLERANCE)


# Batches


def test_codes_in_a_batch_with_nan_padding_are_those_alone(codec, batch):
    clips, tokens = batch
    hop = codec.hop_samples
    assert tokens.codes.shape == (len(clips), -(-(280 * hop + 5 * hop + 1) // hop), codec.levels)
    assert tokens.codes.dtype == tokens.lengths.dtype == np.int32
    for clip, codes, frames in zip(clips, tokens.codes, tokens.lengths, strict=True):
        assert frames == -(-len(clip) // hop)
        assert not codes[frames:].any()
        alone = codec.encode(AudioBatch.from_clips([clip]))
        np.testing.assert_array_equal(codes[:frames], alone.codes[0])
    assert len(np.unique(tokens.codes)) > codec.codebook_size // 2


def test_a_partial_frame_is_filled_with_zeros(codec, recording):
    samples, codes, _ = recording
    filled = np.pad(samples, (0, -len(samples) % codec.hop_samples))
    np.testing.assert_array_equal(codec.encode(AudioBatch.from_clips([filled])).codes[0], codes)


@pytest.mark.parametrize("levels", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_samples_in_a_batch_with_hostile_padding_are_those_alone(codec, batch, levels):
    _, tokens = batch
    outside = np.arange(tokens.codes.shape[1])[None, :, None] >= tokens.lengths[:, None, None]
    hostile = np.where(outside, 10**6, tokens.codes)[..., :levels]
    audio = codec.decode(AcousticTokens(hostile, tokens.lengths))
    np.testing.assert_array_equal(audio.lengths, tokens.lengths * codec.hop_samples)
    assert 0.01 < np.abs(audio.samples).max() <= 1
    for i in (1, 4, 5, 6, 9, 12):
        frames, size = tokens.lengths[i], audio.lengths[i]
        alone = codec.decode(
            AcousticTokens(tokens.codes[i : i + 1, :frames, :levels], frames[None])
        )
        assert_close(audio.samples[i, :size], alone.samples[0])
        assert not audio.samples[i, size:].any()


def test_each_level_adds_to_the_samples_and_latents(codec, recording):
    codes = recording[1][:20]
    heard, latents = [], []
    for levels in range(1, codec.levels + 1):
        tokens = AcousticTokens(codes[None, :, :levels], np.array([20], np.int32))
        heard.append(codec.decode(tokens).samples)
        latents.append(codec.latents(codes[:, :levels]))
    assert len({x.shape for x in heard}) == len({x.shape for x in latents}) == 1
    for a, b in itertools.pairwise(heard):
        assert not np.allclose(a, b)
    # What the last level adds depends on its own codes alone.
    other = np.stack([codes[:, 0], codes[:, 0], codes[:, 2]], 1)
    added = codec.latents(other) - codec.latents(other[:, :2])
    np.testing.assert_allclose(added, latents[2] - latents[1], rtol=1e-4, atol=1e-5)


def test_nothing_gives_nothing(codec):
    for rows in (0, 2):
        empty = np.zeros(rows, np.int32)
        tokens = codec.encode(AudioBatch(np.zeros((rows, 0), np.float32), empty))
        assert tokens.codes.shape == (rows, 0, codec.levels)
        assert codec.decode(tokens).samples.shape == (rows, 0)
    assert len(codec.open_encoder().finish()) == len(codec.open_decoder().finish()) == 0


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in CODECS])
def test_new_lengths_need_no_new_programs(name, monkeypatch):
    monkeypatch.setattr(codec_module, "_PROGRAMS", {})
    codec, programs = CODECS[name]().codec, []
    for extra in (0, 1, 2):
        clips = [noise(frames * codec.hop_samples + extra) for frames in (300, 133)]
        codec.decode(codec.encode(pack(clips)))
        programs.append([f.count for f in (codec._jit_encode, codec._jit_decode)])
    assert programs[0] == programs[1] == programs[2]
    assert max(programs[0]) <= 10


# Streams


def block_sizes(codec):
    return 1, 5, codec.max_block_frames


@pytest.mark.parametrize("block", [0, pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("longest", [0.7, 30, 200], ids=str)
def test_streams_give_what_the_whole_gives(codec, recording, block, longest):
    """And whatever the chunks, what was due is out after each."""
    samples, codes, audio = recording
    hop, frames = codec.hop_samples, block_sizes(codec)[block]
    encoder, decoder = codec.open_encoder(frames), codec.open_decoder(frames)
    streamed, heard, given = [], [], 0
    for piece in chunks(samples, block, round(longest * hop)):
        streamed.append(encoder.push(piece))
        given += len(piece)
        assert 0 <= given // hop - sum(map(len, streamed)) < encoder.latency_frames
    streamed = np.concatenate([*streamed, encoder.finish()])
    np.testing.assert_array_equal(streamed, codes)
    assert streamed.dtype == np.int32
    given = 0
    for piece in chunks(codes, block, max(1, round(longest))):
        heard.append(decoder.push(piece))
        given += len(piece)
        assert 0 <= given - sum(map(len, heard)) / hop < decoder.latency_frames
    assert_close(np.concatenate([*heard, decoder.finish()]), audio)


@pytest.mark.parametrize("frames", [0, 0.1, 1, 1.2, 17, 18, 39.9])
def test_short_recordings_stream(codec, frames):
    """Both ends in one block."""
    samples = noise(round(frames * codec.hop_samples))
    tokens = codec.encode(AudioBatch.from_clips([samples]))
    codes = pushed(codec.open_encoder(), [samples])
    np.testing.assert_array_equal(codes, tokens.codes[0])
    assert_close(pushed(codec.open_decoder(), [codes]), codec.decode(tokens).samples[0])


def test_results_come_with_latency_frames(codec, recording):
    """Not a sample earlier than the frame is full, and no later."""
    samples, codes, audio = recording
    hop, encoder, decoder = codec.hop_samples, codec.open_encoder(), codec.open_decoder()
    ready = encoder.latency_frames * hop
    assert not len(encoder.push(samples[: ready - 1]))
    for frame in range(3):
        (code,) = encoder.push(samples[ready - 1 :][:1])
        np.testing.assert_array_equal(code, codes[frame])
        assert not len(encoder.push(samples[ready:][: hop - 1]))
        ready += hop
    assert not len(decoder.push(codes[: decoder.latency_frames - 1]))
    for frame in range(3):
        heard = decoder.push(codes[decoder.latency_frames - 1 + frame][None])
        assert_close(heard, audio[frame * hop : (frame + 1) * hop])


def test_streams_do_not_disturb_each_other(codec, recording):
    samples, codes, _ = recording
    first, second = codec.open_encoder(5), codec.open_encoder(5)
    ours, theirs = [], []
    for piece in chunks(samples, 3, 200):
        ours.append(first.push(piece))
        theirs.append(second.push(-piece))
    np.testing.assert_array_equal(np.concatenate([*ours, first.finish()]), codes)
    mirrored = codec.encode(AudioBatch.from_clips([-samples])).codes[0]
    np.testing.assert_array_equal(np.concatenate([*theirs, second.finish()]), mirrored)


def test_any_prefix_of_the_levels_streams(codec, recording):
    codes = recording[1][:50, :2]
    audio = codec.decode(AcousticTokens(codes[None], np.array([50]))).samples[0]
    assert_close(pushed(codec.open_decoder(5), chunks(codes, 0, 9)), audio)


# Folders and bad input


def test_a_model_folder_gives_the_codec_back(tiny, batch, tmp_path, request):
    codec, (clips, _) = tiny.codec, batch
    fingerprint = save_model(tmp_path / "codec", codec.kind, codec.config, tiny.arrays, {})
    loaded = load_acoustic_tokenizer(tmp_path / "codec")
    assert (type(loaded), loaded.config) == (type(codec), codec.config)
    assert loaded.fingerprint == fingerprint
    if "denoising" not in request.node.name:  # a loaded codec has its switch off
        audio = AudioBatch.from_clips(clips[4:7])
        np.testing.assert_array_equal(loaded.encode(audio).codes, codec.encode(audio).codes)
    name = sorted(tiny.arrays)[0]
    for arrays, message in (
        ({k: v for k, v in tiny.arrays.items() if k != name}, "missing"),
        (tiny.arrays | {name: np.zeros((2, 9))}, "shape"),
        (tiny.arrays | {"extra": np.zeros(1)}, "unknown array 'extra'"),
    ):
        with pytest.raises(InputError, match=message):
            type(codec)(codec.config, arrays, "0")


def test_bad_batches_are_refused(codec):
    one = np.ones(1, np.int32)
    levels, codes = codec.levels, codec.codebook_size
    with pytest.raises(InputError, match="NaN"):
        codec.encode(AudioBatch(np.full((1, 9), np.nan, np.float32), 9 * one))
    for wrong in (0, levels + 1):
        with pytest.raises(InputError, match=f"{wrong} levels: this codec decodes 1 to {levels}"):
            codec.decode(AcousticTokens(np.zeros((1, 1, wrong), np.int32), one))
    for wrong in (-1, codes):
        with pytest.raises(InputError, match=rf"span \[{wrong}, {wrong}\].*another codec"):
            codec.decode(AcousticTokens(np.full((1, 1, levels), wrong, np.int32), one))


def test_bad_chunks_are_refused(codec):
    assert isinstance(codec, StreamingTokenizer)
    with pytest.raises(InputError, match="NaN"):
        codec.open_encoder().push(np.array([0, np.nan], np.float32))
    stream = codec.open_decoder(5)
    stream.push(np.zeros((1, 2), np.int32))
    with pytest.raises(InputError, match="same number of levels"):
        stream.push(np.zeros((1, 3), np.int32))
    for bad in (-1, codec.codebook_size):
        with pytest.raises(InputError, match="another codec"):
            stream.push(np.full((1, 2), bad))
    most = codec.max_block_frames
    for wrong in (0, most + 1):
        for opened in (codec.open_encoder, codec.open_decoder):
            with pytest.raises(InputError, match=f"block_frames = {wrong}: expected 1 to {most}"):
                opened(wrong)
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(np.zeros((1, 2), np.int32))
