"""The frozen codec against its network, and its own errors; `test_codec_contract` has the rest."""

import jax
import numpy as np
import pytest
from support.tiny_codecs import FINGERPRINT, PLAIN, soundstream_arrays

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic import codec as codec_module
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS
from audiolm_jax.types import AudioBatch


@pytest.fixture(scope="module")
def arrays():
    return soundstream_arrays(PLAIN)


@pytest.fixture(scope="module")
def codec(arrays):
    return SoundStreamCodec(PLAIN, arrays, FINGERPRINT)


def test_blocks_are_the_network_itself(codec, arrays):
    """The convolutions in one piece, padded by the compiler, without any state."""
    samples = np.random.default_rng(1).normal(0, 0.3, (1, 150 * PLAIN.hop_samples))
    tokens = codec.encode(AudioBatch.from_clips([*samples.astype(np.float32)]))
    network = codec._network(codec._params[0])
    latents = np.asarray(jax.jit(network.encoder)(samples.astype(np.float32)))[0]
    residual = latents
    for level, vectors in enumerate(arrays[CODEBOOKS]):
        distance = ((residual[:, None] - vectors[None]) ** 2).sum(-1)
        np.testing.assert_array_equal(distance.argmin(-1), tokens.codes[0, :, level])
        residual = residual - vectors[tokens.codes[0, :, level]]
    np.testing.assert_allclose(codec.latents(tokens.codes[0]), latents - residual, atol=1e-5)
    whole = np.asarray(jax.jit(network.decoder)((latents - residual)[None]))[0]
    audio = codec.decode(tokens).samples[0]
    np.testing.assert_allclose(audio, np.clip(whole, -1, 1), rtol=0, atol=1e-5)


def test_long_items_need_no_further_program(arrays, monkeypatch):
    """Two programs each, 1 and 8 rows of one block, whatever the lengths and however many codecs of
    a config there are."""
    monkeypatch.setattr(codec_module, "_PROGRAMS", {})
    codec = SoundStreamCodec(PLAIN, arrays, FINGERPRINT)
    clips = [np.zeros(n * PLAIN.hop_samples, np.float32) for n in (700, 129, 3)]
    codec.decode(codec.encode(AudioBatch.from_clips(clips)))
    other = SoundStreamCodec(PLAIN, {name: x * 0.5 for name, x in arrays.items()}, FINGERPRINT)
    other.decode(other.encode(AudioBatch.from_clips(clips[:1])))
    assert codec._jit_encode.count == codec._jit_decode.count == 2


def test_codebooks_that_do_not_fit_are_refused(arrays):
    without = {name: x for name, x in arrays.items() if name != CODEBOOKS}
    with pytest.raises(InputError, match=r"quantizer.codebooks' is missing"):
        SoundStreamCodec(PLAIN, without, FINGERPRINT)
    with pytest.raises(InputError, match=r"quantizer.codebooks' is of shape \(1, 2\)"):
        SoundStreamCodec(PLAIN, arrays | {CODEBOOKS: np.zeros((1, 2))}, FINGERPRINT)
