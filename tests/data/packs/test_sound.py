"""Any sound comes back from its file to the bit, as a whole and in part."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm_jax.data.packs.sound import decode_sound, encode_sound, quantised

SCALES = {"flac16": 2**15, "flac24": 2**23}


def noise(kind, length, seed):
    rng = np.random.default_rng(seed)
    if kind == "float32":
        return rng.uniform(-1, 1, length).astype(np.float32)
    scale = SCALES[kind]
    return (rng.integers(-scale, scale, length) / scale).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["flac16", "flac24", "float32"]),
    st.integers(1, 30_000),
    st.sampled_from([4000, 8000, 11025, 16001, 44100, 48000, 96000, 192000]),
    st.integers(0, 2**32),
    st.data(),
)
def test_any_part_comes_back_to_the_bit(kind, length, rate, seed, data):
    samples = noise(kind, length, seed)
    encoding, file = encode_sound(samples, rate)
    assert encoding == kind or (length < 20 and encoding in SCALES)
    assert encode_sound(samples, rate) == (encoding, file)
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    for first, end in ((0, length), (start, stop)):
        part = decode_sound(encoding, file, first, end)
        np.testing.assert_array_equal(part.view(np.int32), samples[first:end].view(np.int32))
    assert len(decode_sound(encoding, file, start, length + 9)) == length - start
    read, read_rate = soundfile.read(io.BytesIO(file), dtype="float32")  # as anybody would
    np.testing.assert_array_equal(read.view(np.int32), samples.view(np.int32))
    assert read_rate == rate


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([0.5, -1.0, 32767 / 32768], "flac16"),
        ([0.5, 1.0], "float32"),  # beyond the largest integer
        ([0.5, -0.0], "float32"),
        ([0.5, 1.5], "float32"),
        ([0.5, 3e38], "float32"),
        ([0.5, 1e-45], "float32"),
        ([0.5, 2.0**-16], "flac24"),
        ([0.5, 2.0**-24], "float32"),
    ],
)
def test_what_fits_exactly_decides(samples, expected):
    sound = np.array(samples * 500, np.float32)
    encoding, file = encode_sound(sound, 16000)
    assert encoding == expected
    assert decode_sound(encoding, file, 0, 1000).tobytes() == sound[:1000].tobytes()


def test_a_rate_that_flac_has_not():
    sound = noise("flac16", 5000, 0)
    encoding, file = encode_sound(sound, 768_000)
    assert encoding == "float32"
    np.testing.assert_array_equal(decode_sound(encoding, file, 10, 4000), sound[10:4000])


def test_no_flac_is_an_error():
    with pytest.raises(ValueError, match=r"\w"):
        decode_sound("flac16", b"fLaC" + bytes(100), 0, 10)


@pytest.mark.parametrize("bits", [16, 24])
def test_rounding_is_to_the_nearest_and_clips_are_counted(bits):
    step = 2.0 ** (1 - bits)
    sound = np.array([0.25, 0.25 + 0.4 * step, 1.0, -1.0, -1.5, 1 - step, -0.3 * step], np.float32)
    found, clipped = quantised(sound, bits)
    expected = np.array([0.25, 0.25, 1 - step, -1.0, -1.0, 1 - step, 0.0], np.float32)
    np.testing.assert_array_equal(found, expected)
    assert clipped == 2
    assert encode_sound(np.resize(found, 999), 16000)[0] == f"flac{bits}"
